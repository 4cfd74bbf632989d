package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pulumi-scone/launcher/internal/enclave"
)

// podMounts is what a pod with a read-only root, two volumes in memory and one claim really has.
const podMounts = `1041 985 0:187 / / ro,relatime master:412 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d
1042 1041 0:189 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1043 1041 0:190 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
1044 1043 0:191 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
1047 1041 0:178 / /python rw,relatime - tmpfs tmpfs rw,size=1048576k
1048 1041 0:179 / /.scone/memory rw,relatime - tmpfs tmpfs rw,size=1048576k
1049 1041 254:1 /var/lib/kubelet/pods/x/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw
1050 1043 254:1 /var/lib/kubelet/pods/x/containers/y/1 /dev/termination-log rw,relatime - ext4 /dev/vda1 rw
1054 1041 254:1 /claim /data\040of\134app rw,relatime shared:3 master:1 - ext4 /dev/vda1 rw
988 1042 0:189 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
`

func podProtection() *protection {
	return &protection{encrypted: map[string]*encryptedDirectory{"/python": {}}, volumes: []string{`/data of\app`}}
}

// TestMounts proves that a pod's usual mounts pass, and that each other mount, and each missing one, is named.
func TestMounts(t *testing.T) {
	for name, test := range map[string]struct{ old, replacement, problem string }{
		"usual":                    {"", "", ""},
		"read-only superblock":     {"/ / ro,relatime master:412 - overlay overlay rw", "/ / rw,relatime master:412 - overlay overlay ro", ""},
		"writable root":            {"/ / ro,", "/ / rw,", "/: the root file system is writable"},
		"option that begins as ro": {"/ / ro,relatime", "/ / rox,relatime", "/: the root file system is writable"},
		"second root":              {"988 ", "987 1 0:9 / / rw - tmpfs tmpfs rw\n988 ", "/: the root file system is writable"},
		"no root":                  {"/ / ro", "/ /proc/x ro", "/: no mount"},
		"disk for memory":          {"/python rw,relatime - tmpfs", "/python rw,relatime - ext4", "/python: mounted as ext4, expected tmpfs"},
		"disk over memory":         {"988 ", "987 1 8:1 / /python rw - ext4 x rw\n988 ", "/python: mounted as ext4"},
		"no memory":                {"/.scone/memory ", "/proc/memory ", "/.scone/memory: not a mount"},
		"mount in memory":          {"/etc/hosts", "/python/lib", "/python/lib: a mount that the image does not list"},
		"mount over a directory":   {"/etc/hosts", "/usr", "/usr: a mount that the image does not list"},
		"mount in a volume":        {"/etc/hosts", `/data\040of\134app/x`, `/data of\app/x: a mount that the image does not list`},
		"temporary directory":      {"/etc/hosts", "/tmp", "/tmp: a mount that the image does not list"},
		"name that begins as dev":  {"/etc/hosts", "/device", "/device: a mount that the image does not list"},
		"service account": {
			"/etc/hosts", "/run/secrets/kubernetes.io/serviceaccount",
			"/run/secrets/kubernetes.io/serviceaccount: a mount that the image does not list (automountServiceAccountToken: false is missing)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(podMounts, test.old, test.replacement, 1)
			if changed == podMounts && name != "usual" {
				t.Fatal("the case changes nothing")
			}
			mounts, err := parseMounts([]byte(changed))
			if err != nil {
				t.Fatal(err)
			}
			problems := checkMounts(mounts, podProtection())
			if test.problem == "" && len(problems) > 0 {
				t.Error(problems)
			}
			if test.problem != "" && (len(problems) != 1 || !strings.HasPrefix(problems[0].path+": "+problems[0].what, test.problem)) {
				t.Error(problems)
			}
		})
	}
}

// TestBrokenMountinfo proves that a line which is not understood refuses all, because an unseen mount is an unchecked one.
func TestBrokenMountinfo(t *testing.T) {
	for _, bad := range []string{
		"\n", "1 2 3\n", "1 2 0:1 / / ro - overlay\n", "1 2 0:1 / /x ro a b c\n", `1 2 0:1 / /x\04 ro - t t rw`, `1 2 0:1 / /x\09x ro - t t rw`,
		`1 2 0:1 / /x\000x ro - t t rw`, `1 2 0:1 / /x\777x ro - t t rw`, "1 2 0:1 / x ro - t t rw", podMounts + "\n",
	} {
		if mounts, err := parseMounts([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, mounts)
		}
	}
}

// FuzzMountinfo looks for input on which the parser panics, or loses a line.
func FuzzMountinfo(f *testing.F) {
	f.Add([]byte(podMounts))
	f.Add([]byte(`1 2 0:1 / /x\040\134y ro,z opt:1 - tmpfs none rw`))
	f.Fuzz(func(t *testing.T, data []byte) {
		mounts, err := parseMounts(data)
		if err != nil {
			return
		}
		lines := bytes.Count(data, []byte("\n"))
		if len(data) > 0 && data[len(data)-1] != '\n' {
			lines++
		}
		if len(mounts) != lines {
			t.Errorf("%d mounts in %d lines", len(mounts), lines)
		}
		for _, mount := range mounts {
			if !strings.HasPrefix(mount.point, "/") {
				t.Errorf("mount point %q", mount.point)
			}
		}
	})
}

// TestSettings proves which of the host's variables are accepted, and that each refusal names its variable.
func TestSettings(t *testing.T) {
	pin := enclave.HashKey([]byte("key")).String()
	for _, test := range []struct {
		environment map[string]string
		address     string
		refusal     string
	}{
		{map[string]string{}, "cas:18765", ""},
		{map[string]string{"SCONE_CAS_ADDR": "cas.default:1"}, "cas.default:1", ""},
		{map[string]string{"SCONE_CAS_ADDR": "10.0.0.1"}, "10.0.0.1:18765", ""},
		{map[string]string{"SCONE_CAS_ADDR": "::1"}, "[::1]:18765", ""},
		{map[string]string{"SCONE_CAS_ADDR": "[::1]"}, "[::1]:18765", ""},
		{map[string]string{"SCONE_CAS_ADDR": "[::1]:9"}, "[::1]:9", ""},
		{map[string]string{"SCONE_CAS_KEY": pin, "SCONE_CAS_TIMEOUT": "3600"}, "cas:18765", ""},
		{map[string]string{"SCONE_CONFIG_ID": "s/x@123456"}, "cas:18765", ""},
		{map[string]string{"SCONE_CONFIG_ID": ""}, "", "SCONE_CONFIG_ID is not set"},
		{map[string]string{"SCONE_CONFIG_ID": "session"}, "", `SCONE_CONFIG_ID "session" does not name`},
		{map[string]string{"SCONE_CONFIG_ID": "/service"}, "", "SCONE_CONFIG_ID"},
		{map[string]string{"SCONE_CONFIG_ID": "session/"}, "", "SCONE_CONFIG_ID"},
		{map[string]string{"SCONE_CONFIG_ID": "s/" + strings.Repeat("x", 1023)}, "", "SCONE_CONFIG_ID is longer"},
		{map[string]string{"SCONE_CAS_ADDR": ""}, "", "SCONE_CAS_ADDR is not set"},
		{map[string]string{"SCONE_CAS_ADDR": "cas:0"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": "cas:65536"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": "cas:http"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": ":18765"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": "a:b:c"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": "https://cas"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": "user@cas"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": "cas/path"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_ADDR": "[x:y]"}, "", "SCONE_CAS_ADDR"},
		{map[string]string{"SCONE_CAS_KEY": "abc"}, "", "SCONE_CAS_KEY"},
		{map[string]string{"SCONE_CAS_TIMEOUT": "0"}, "", "SCONE_CAS_TIMEOUT"},
		{map[string]string{"SCONE_CAS_TIMEOUT": "3601"}, "", "SCONE_CAS_TIMEOUT"},
		{map[string]string{"SCONE_CAS_TIMEOUT": "30s"}, "", "SCONE_CAS_TIMEOUT"},
	} {
		environment := map[string]string{"SCONE_CONFIG_ID": "s/x", "SCONE_CAS_ADDR": "cas"}
		for name, value := range test.environment {
			environment[name] = value
		}
		read, err := readSettings(environment)
		var refused *refusal
		switch {
		case test.refusal != "":
			if !errors.As(err, &refused) || refused.code != exitConfiguration || !strings.HasPrefix(refused.what, test.refusal) {
				t.Errorf("%v: %v", test.environment, err)
			}
		case err != nil || read.address != test.address:
			t.Errorf("%v: %v %v", test.environment, read, err)
		}
	}
}

// TestHostEnvironment proves what of the host travels in the evidence, and what never reaches Go's runtime.
func TestHostEnvironment(t *testing.T) {
	read := readHost([]string{"a", "\xff"}, []string{"A=1", "A=2", "B=x=y", "bad", "=c", "C=\xff", "D="})
	if fmt.Sprint(read.environment) != "map[A:1 B:x=y D:]" || read.arguments[1] != "\uFFFD" {
		t.Error(read)
	}
	kept, shed := withoutRuntimeVariables([]string{"GODEBUG=x", "GOGCX=1", "GOGC=off", "PATH=/bin"})
	if !shed || !slices.Equal(kept, []string{"GOGCX=1", "PATH=/bin"}) {
		t.Error(kept, shed)
	}
	if _, shed := withoutRuntimeVariables(kept); shed {
		t.Error("the launcher would start itself anew for ever")
	}
}

// TestProblems proves that the first problems are told in the order of their paths, on one line without control characters.
func TestProblems(t *testing.T) {
	var many []problem
	for index := range 8 {
		many = append(many, problem{fmt.Sprintf("/%d\n\x1b[31m", 7-index), "missing"})
	}
	line := oneLine(refuseProblems(many).Error())
	if !strings.HasPrefix(line, "Integrity check failed: /0\uFFFD\uFFFD[31m: missing; /1") || !strings.HasSuffix(line, "; and 3 more") {
		t.Error(line)
	}
}

// TestFindProgram proves that the program is looked up in absolute directories only, and only where it may be executed.
func TestFindProgram(t *testing.T) {
	folder := t.TempDir()
	for name, mode := range map[string]os.FileMode{"first/app": 0o644, "second/app": 0o755, "third/app": 0o755} {
		(&builder{t: t, folder: folder}).write("/"+name, nil, mode)
	}
	t.Chdir(folder)
	search := "second::" + folder + "/none:" + folder + "/first:" + folder + "/second:" + folder + "/third"
	found, err := findProgram("app", map[string]string{"PATH": search})
	if err != nil || found != folder+"/second/app" {
		t.Error(found, err)
	}
	if found, err := findProgram("third/app", nil); err != nil || found != folder+"/third/app" {
		t.Error(found, err)
	}
	if _, err := findProgram("app", map[string]string{"PATH": ""}); err == nil {
		t.Error("found without PATH")
	}
}

// TestSubcommands proves that version tells what the measurement is.
func TestSubcommands(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"version"}, &out, io.Discard); code != 0 || out.String() != "pulumi-scone launcher 1 (pulumi-scone measurement v1)\n" {
		t.Error(code, out.String())
	}
}

// BenchmarkVerify verifies 4,000 files of 60 MB, about a slim Python base.
func BenchmarkVerify(b *testing.B) {
	folder := filepath.Join(b.TempDir(), "root")
	made := &builder{t: b, folder: folder, program: "/usr/bin/program"}
	content := bytes.Repeat([]byte("0123456789abcde\n"), 15<<10/16)
	for index := range 4000 {
		made.write(fmt.Sprintf("/usr/lib/python/%d/%d.py", index/50, index), content, 0o644)
	}
	made.write("/usr/bin/program", content, 0o755)
	launcher := []byte("launcher")
	built := made.build(launcher)
	p := paths{folder}
	configuration := made.read("/.scone/launcher.json")
	measured := &image{configurationFile: configuration, launcherDigest: digestOf(launcher), launcherSize: int64(len(launcher))}
	delivered := &enclave.Protection{Key: testKey, Tag: unhex(b, built.tag)}
	b.SetBytes(int64(4000 * len(content)))
	for b.Loop() {
		loaded, err := loadProtection(p, measured, delivered)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := verify(p, measured, loaded); err != nil {
			b.Fatal(err)
		}
	}
}
