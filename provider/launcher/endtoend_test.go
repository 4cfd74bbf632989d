package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pulumi-scone/launcher/internal/enclave"
	"pulumi-scone/launcher/internal/enclavetest"
)

const (
	plantedSecret = "correct horse battery staple"
	ordinaryUser  = 65532
)

// binaries builds the launcher and the test's program once.
var binaries = sync.OnceValues(func() (built map[string][]byte, err error) {
	folder, err := os.MkdirTemp("", "launcher-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	built = map[string][]byte{}
	for name, source := range map[string]string{"launcher": ".", "program": "./testdata/program"} {
		target := filepath.Join(folder, name)
		command := exec.Command("go", "build", "-trimpath", "-o", target, source)
		command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local")
		if output, err := command.CombinedOutput(); err != nil {
			return nil, errors.New(string(output))
		}
		if built[name], err = os.ReadFile(target); err != nil {
			return nil, err
		}
	}
	return built, nil
})

// scenario is one start of a container: everything is in order unless a case changes it.
type scenario struct {
	t         *testing.T
	cas       *enclavetest.Server
	policy    enclavetest.Policy
	builder   *builder
	image     *testImage
	container container
	volume    string // host folder behind the volume /data
}

func newScenario(t *testing.T) *scenario {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it assembles a root file system in a mount namespace of its own")
	}
	built, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	cas := enclavetest.Start()
	t.Cleanup(cas.Close)
	b := &builder{
		t: t, folder: filepath.Join(t.TempDir(), "root"), program: "/usr/bin/program", loader: "/lib64/ld.so",
		encrypted: map[string]string{
			"/python/app.py": "print('" + plantedSecret + "')\n", "/python/lib/": "", "/python/lib/empty": "",
			"/python/latest": "->app.py",
		},
		injected: []string{"/tls/client.key"}, volumes: []string{"/data"},
		pin: enclave.KeyHash(cas.KeyDigest()).String(),
	}
	b.write("/usr/bin/program-1.0", built["program"], 0o755)
	b.link("program-1.0", "/usr/bin/program")
	b.write("/usr/lib64/ld-1.so", []byte("loader"), 0o755)
	b.link("usr/lib64", "/lib64")
	b.link("ld-1.so", "/usr/lib64/ld.so")
	b.write("/etc/passwd", []byte("root:x:0:0\n"), 0o644)
	b.write("/etc/shadow", []byte("root:*\n"), 0o640)
	b.write("/root/private/notes", []byte("only root reads this"), 0o600)
	if err := os.Chmod(filepath.Join(b.folder, "root"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, directory := range []string{"/data", "/var/log/app"} {
		if err := os.MkdirAll(filepath.Join(b.folder, directory), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &scenario{t: t, cas: cas, builder: b, image: b.build(built["launcher"]), volume: t.TempDir()}
	if err := os.WriteFile(filepath.Join(s.volume, "kept"), []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	termination := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(termination, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(termination, 0o666); err != nil {
		t.Fatal(err)
	}
	s.policy.ConfigID = "ns/session/service"
	s.policy.Measurements = []string{s.image.measurement}
	s.container = container{
		Folder:      b.folder,
		Mounts:      map[string]string{"/.scone/memory": "tmpfs", "/python": "tmpfs", "/data": s.volume},
		Termination: termination,
		User:        ordinaryUser,
		Arguments:   []string{"--from", "the host"},
		Environment: []string{
			"SCONE_CONFIG_ID=ns/session/service", "SCONE_CAS_ADDR=" + cas.Address(), "SCONE_HEAP=64M", "SCONE_CAS_TIMEOUT=5",
			"PATH=/nowhere", "LD_PRELOAD=/evil.so", "HTTPS_PROXY=http://127.0.0.1:1", "GODEBUG=netdns=cgo+9,tlskyber=0",
			"SSLKEYLOGFILE=/data/keys",
		},
	}
	s.deliver()
	return s
}

// rebuild makes the image anew from the same base after the case changed what goes into it.
func (s *scenario) rebuild() {
	s.t.Helper()
	launcher := s.builder.read("/.scone/launcher")
	for _, name := range []string{".scone", "python", "tls"} {
		if err := os.RemoveAll(filepath.Join(s.builder.folder, name)); err != nil {
			s.t.Fatal(err)
		}
	}
	s.image = s.builder.build(launcher)
	s.policy.Measurements = []string{s.image.measurement}
	s.deliver()
}

// deliver lets the CAS answer as a policy for this image would.
func (s *scenario) deliver() {
	s.policy.Answer = map[string]any{
		"protocol": 1, "config_id": "ns/session/service",
		"arguments":         []string{"program", "/python", "/.scone/memory", "/tls", "/data"},
		"environment":       map[string]string{"API_PASSWORD": plantedSecret, "LANG": "C"},
		"working_directory": "/python",
		"protection":        map[string]string{"key": hex.EncodeToString(testKey), "tag": s.image.tag},
		"files": []map[string]any{
			{"path": "/etc/hosts", "content": []byte("127.0.0.1 x"), "mode": 0o644},
			{"path": "/tls/client.key", "content": []byte(plantedSecret), "mode": 0o400},
		},
	}
}

// outcome is what was seen of the container from outside.
type outcome struct {
	code        int
	stdout      []byte
	stderr      string
	termination string
}

func (s *scenario) run() outcome {
	s.t.Helper()
	s.cas.Set(s.policy)
	wanted, err := json.Marshal(s.container)
	if err != nil {
		s.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	command := exec.Command("/proc/self/exe")
	command.Env = []string{containerVariable + "=" + string(wanted)}
	command.Stdout, command.Stderr = &stdout, &stderr
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	err = command.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		s.t.Fatal(err)
	}
	termination, err := os.ReadFile(s.container.Termination)
	if err != nil {
		s.t.Fatal(err)
	}
	return outcome{command.ProcessState.ExitCode(), stdout.Bytes(), stderr.String(), string(termination)}
}

// started is what the program reported.
type started struct {
	Arguments   []string          `json:"arguments"`
	Environment []string          `json:"environment"`
	Directory   string            `json:"working_directory"`
	Umask       int               `json:"umask"`
	Core        uint64            `json:"core"`
	User        int               `json:"uid"`
	Descriptors []string          `json:"descriptors"`
	Tree        map[string]string `json:"tree"`
	Ignored     string            `json:"SigIgn"`
	Blocked     string            `json:"SigBlk"`
	NoNewPrivs  string            `json:"NoNewPrivs"`
}

func (s *scenario) start() started {
	s.t.Helper()
	seen := s.run()
	var report started
	if seen.code != 0 || json.Unmarshal(seen.stdout, &report) != nil {
		s.t.Fatalf("exit code %d\n%s\n%s", seen.code, seen.stderr, seen.stdout)
	}
	return report
}

// TestImageDefaults proves that a wrapped image's own variables and working directory reach its program, but never over the policy's
// words, and not at all where nothing of the image was verified.
func TestImageDefaults(t *testing.T) {
	s := newScenario(t)
	s.builder.defaults = map[string]any{"environment": map[string]string{"LANG": "of the image", "PATH": "/usr/bin"}, "pwd": "/data"}
	s.rebuild()
	s.policy.Answer["working_directory"] = "/"
	s.policy.Answer["arguments"] = []string{"program"}
	report := s.start()
	if got := strings.Join(report.Environment, " "); got != "API_PASSWORD="+plantedSecret+" LANG=C PATH=/usr/bin" {
		t.Errorf("environment: %s", got)
	}
	if report.Directory != "/data" {
		t.Errorf("working directory: %s", report.Directory)
	}
	s.policy.Answer["working_directory"] = "/python"
	if report := s.start(); report.Directory != "/python" {
		t.Errorf("working directory: %s", report.Directory)
	}
	delete(s.policy.Answer, "files")
	s.policy.Answer["protection"] = nil
	s.policy.Answer["files"] = []any{}
	if report := s.start(); strings.Contains(strings.Join(report.Environment, " "), "PATH") {
		t.Errorf("environment without a tag: %v", report.Environment)
	}
}

// TestStart proves that the program gets exactly what the policy delivers, and nothing of the host.
func TestStart(t *testing.T) {
	s := newScenario(t)
	report := s.start()
	if got := strings.Join(report.Arguments, " "); got != "program /python /.scone/memory /tls /data" {
		t.Errorf("arguments: %s", got)
	}
	if got := strings.Join(report.Environment, " "); got != "API_PASSWORD="+plantedSecret+" LANG=C" {
		t.Errorf("environment: %s", got)
	}
	if report.Directory != "/python" || report.Umask != 0o022 || report.Core != 0 || report.User != ordinaryUser {
		t.Errorf("directory %s, umask %o, core %d, user %d", report.Directory, report.Umask, report.Core, report.User)
	}
	if got := strings.Join(report.Descriptors, " "); got != "0 1 2" {
		t.Errorf("open descriptors: %s", got)
	}
	if report.Ignored != "0000000000000000" || report.Blocked != "0000000000000000" {
		t.Errorf("signals: ignored %s, blocked %s", report.Ignored, report.Blocked)
	}
	if report.NoNewPrivs != "1" {
		t.Error("what was not verified, such as /etc/shadow, is out of reach only as long as no privileges are gained")
	}
	injected := "/.scone/memory/files/" + hexDigest([]byte("/tls/client.key"))[:32]
	for path, expected := range map[string]string{
		"/python/app.py":        "-rw-r----- print('" + plantedSecret + "')\n",
		"/python/lib":           "drwxr-x---",
		"/python/lib/empty":     "-rw-r----- ",
		"/python/latest":        "Lrwxrwxrwx -> app.py",
		injected:                "-r-------- " + plantedSecret,
		"/tls/client.key":       "Lrwxrwxrwx -> " + injected,
		"/.scone/memory/ready":  "-rw-r--r-- ",
		"/data/kept":            "-rw-r--r-- data",
		"/data/keys":            "",
		"/.scone/memory/files/": "",
	} {
		if got := report.Tree[path]; got != expected {
			t.Errorf("%s: %q instead of %q", path, got, expected)
		}
	}
	evidence := s.cas.Seen()[0]
	if evidence.HostEnvironment["LD_PRELOAD"] != "/evil.so" || strings.Join(evidence.HostArguments, " ") != "--from the host" {
		t.Error("the evidence lacks what the policy may take from the host")
	}
	if _, kept := evidence.HostEnvironment["GODEBUG"]; kept {
		t.Error("GODEBUG reached the launcher")
	}
}

// TestStartAsRoot proves that root, who can read everything, has everything verified.
func TestStartAsRoot(t *testing.T) {
	s := newScenario(t)
	s.container.User = 0
	if report := s.start(); report.NoNewPrivs != "1" || !strings.HasPrefix(report.Tree["/python"], "drwxr-xr-x") {
		t.Errorf("no new privileges %s, /python %s", report.NoNewPrivs, report.Tree["/python"])
	}
	s.builder.write("/root/private/notes", []byte("ONLY root reads this"), 0o600)
	expect(t, s.run(), 66, "Integrity check failed: /root/private/notes: content differs (expected sha256 "+
		hexDigest([]byte("only root reads this"))+", found "+hexDigest([]byte("ONLY root reads this"))+")")
}

// TestRestart proves that a restarted container removes what it finds in memory, never through links, and keeps volumes.
func TestRestart(t *testing.T) {
	s := newScenario(t)
	memory, python, victim := t.TempDir(), t.TempDir(), t.TempDir()
	for _, folder := range []string{memory, python} {
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=777"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	}
	left := &builder{t: t, folder: python}
	left.write("/closed/file", []byte("old"), 0o400)
	left.write("/app.py", []byte("print('changed')"), 0o400)
	left.link(victim, "/lib")
	(&builder{t: t, folder: memory}).write("/ready", nil, 0o644)
	(&builder{t: t, folder: victim}).write("/survives", nil, 0o644)
	// As the program left it: its own, and closed even to itself.
	err := filepath.WalkDir(python, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, ordinaryUser, ordinaryUser))
	})
	if err := errors.Join(err, os.Chmod(filepath.Join(python, "closed"), 0)); err != nil {
		t.Fatal(err)
	}
	s.container.Mounts["/python"], s.container.Mounts["/.scone/memory"] = python, memory
	for range 2 {
		report := s.start()
		if _, left := report.Tree["/python/closed"]; left || !strings.Contains(report.Tree["/python/app.py"], plantedSecret) {
			t.Errorf("what lay in the memory mount is still there: %v", report.Tree)
		}
	}
	if _, err := os.Stat(filepath.Join(victim, "survives")); err != nil {
		t.Error("a link in the memory mount was followed")
	}
	s.policy.ConfigID = "gone"
	expect(t, s.run(), 65, "Attestation failed: no such service")
	if _, err := os.Stat(filepath.Join(memory, "ready")); err == nil {
		t.Error("a refused start still looks ready")
	}
}

func expect(t *testing.T, seen outcome, code int, line string) {
	t.Helper()
	if seen.code != code || strings.TrimSuffix(seen.stderr, "\n") != line {
		t.Errorf("exit code %d\n%s\ninstead of %d\n%s", seen.code, seen.stderr, code, line)
	}
	if seen.termination != line {
		t.Errorf("termination log: %q", seen.termination)
	}
	if len(seen.stdout) != 0 {
		t.Errorf("the program started: %s", seen.stdout)
	}
	if everything := seen.stderr + seen.termination; strings.Contains(everything, plantedSecret) ||
		strings.Contains(everything, hex.EncodeToString(testKey)) ||
		strings.Contains(everything, base64.StdEncoding.EncodeToString(testKey)) {
		t.Error("a secret was printed")
	}
}

// TestStartWithoutProtection proves that a service without fspf_tag starts, and that the log says what was not verified.
func TestStartWithoutProtection(t *testing.T) {
	s := newScenario(t)
	s.policy.Answer["protection"], s.policy.Answer["files"], s.policy.Answer["working_directory"] = nil, []any{}, nil
	s.container.Environment = append(s.container.Environment, "SCONE_LOG=WARN")
	s.container.Writable = true
	seen := s.run()
	warning := "[launcher] warn: the policy has no fspf_tag for this service: only its measurement was verified, no file and no mount\n"
	if seen.code != 0 || seen.stderr != warning || !bytes.Contains(seen.stdout, []byte(`"working_directory":"/"`)) {
		t.Errorf("exit code %d\n%s\n%s", seen.code, seen.stderr, seen.stdout)
	}
}

// TestStartOfTheImagesProgram proves that without a command the program is the one that the image was built for, alone.
func TestStartOfTheImagesProgram(t *testing.T) {
	s := newScenario(t)
	s.policy.Answer["arguments"] = []string{}
	if got := strings.Join(s.start().Arguments, " "); got != "/usr/bin/program" {
		t.Errorf("arguments: %s", got)
	}
}

// TestStartWithoutTag proves that a key without a tag takes any image under that key, says so, and takes no other.
func TestStartWithoutTag(t *testing.T) {
	s := newScenario(t)
	s.policy.Answer["protection"] = map[string]any{"key": hex.EncodeToString(testKey), "tag": nil}
	quiet := s.container.Environment
	s.container.Environment = append(slices.Clone(quiet), "SCONE_LOG=warn")
	seen := s.run()
	warning := "[launcher] warn: the policy gives no fspf_tag for this service: any older image under its key would be accepted as well\n"
	if seen.code != 0 || !strings.HasPrefix(seen.stderr, warning) || !bytes.Contains(seen.stdout, []byte("/python/app.py")) {
		t.Errorf("exit code %d\n%s\n%s", seen.code, seen.stderr, seen.stdout)
	}
	s.container.Environment = quiet
	s.policy.Answer["protection"] = map[string]any{"key": strings.Repeat("00", 32), "tag": nil}
	expect(t, s.run(), 66, "Integrity check failed: /.scone/service.fspf: does not open with the key of the policy")
}

// TestVolumeInEncryptedDirectory proves that making room in memory spares a volume that is mounted inside.
func TestVolumeInEncryptedDirectory(t *testing.T) {
	s := newScenario(t)
	s.builder.volumes = append(s.builder.volumes, "/python/deep/data")
	s.rebuild()
	s.container.Mounts["/python/deep/data"] = s.volume
	for range 2 {
		if report := s.start(); report.Tree["/python/deep/data/kept"] != "-rw-r--r-- data" || report.Tree["/python/latest"] == "" {
			t.Errorf("%v", report.Tree)
		}
	}
}

// TestBusy proves that a busy CAS is asked again, and that the log names every step without a secret or password.
func TestBusy(t *testing.T) {
	s := newScenario(t)
	s.policy.Busy = 2
	s.policy.ConfigID += "@123456"
	s.policy.Answer["config_id"] = s.policy.ConfigID
	s.container.Environment = append(s.container.Environment[1:], "SCONE_LOG=debug", "SCONE_CONFIG_ID="+s.policy.ConfigID)
	seen := s.run()
	if seen.code != 0 || strings.Contains(seen.stderr, plantedSecret) || strings.Count(seen.stderr, "the CAS is busy, again in") != 2 {
		t.Errorf("exit code %d\n%s", seen.code, seen.stderr)
	}
	if strings.Contains(seen.stderr, "123456") {
		t.Errorf("the log shows the one-time password:\n%s", seen.stderr)
	}
	for _, step := range []string{"measured /usr/bin/program: ", "attested as ns/session/service by ", "verified ", "decrypted 1 directories", "starting /usr/bin/program"} {
		if !strings.Contains(seen.stderr, step) {
			t.Errorf("the log lacks %q:\n%s", step, seen.stderr)
		}
	}
}

// TestReadyProbe proves that the probe's command tells a started container from one that is not.
func TestReadyProbe(t *testing.T) {
	s := newScenario(t)
	s.container.Arguments = []string{"ready"}
	if seen := s.run(); seen.code != 1 {
		t.Errorf("ready before the start: exit code %d", seen.code)
	}
	memory := t.TempDir()
	s.container.Mounts["/.scone/memory"] = memory
	(&builder{t: t, folder: memory}).write("/ready", nil, 0o644)
	if err := os.Chmod(memory, 0o755); err != nil {
		t.Fatal(err)
	}
	if seen := s.run(); seen.code != 0 || seen.stderr != "" {
		t.Errorf("not ready after the start: exit code %d, %s", seen.code, seen.stderr)
	}
}
