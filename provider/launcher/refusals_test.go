package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pulumi-scone/launcher/internal/enclave"
)

// TestRefusals proves that every kind of tampering ends in one clear line, its exit code, and no program.
func TestRefusals(t *testing.T) {
	otherKey := enclave.HashKey([]byte("another key"))
	for name, test := range map[string]struct {
		change func(s *scenario)
		code   int
		line   func(s *scenario) string
	}{
		"changed file": {
			func(s *scenario) { s.builder.write("/etc/passwd", []byte("root::0:0:\n"), 0o644) }, 66,
			func(*scenario) string {
				return "/etc/passwd: content differs (expected sha256 " + hexDigest([]byte("root:x:0:0\n")) +
					", found " + hexDigest([]byte("root::0:0:\n")) + ")"
			},
		},
		"changed size, mode, type, link; missing and extra files": {
			func(s *scenario) {
				s.builder.write("/etc/passwd", []byte("longer than before\n"), 0o644)
				s.builder.write("/usr/lib64/libevil.so", nil, 0o755)
				_ = os.Remove(filepath.Join(s.builder.folder, "usr/lib64/ld.so"))
				s.builder.link("../lib64/ld-1.so", "/usr/lib64/ld.so")
				_ = os.Chmod(filepath.Join(s.builder.folder, "etc/shadow"), 0o4640)
				_ = syscall.Chmod(filepath.Join(s.builder.folder, "etc/shadow"), 0o4640)
				_ = os.Remove(filepath.Join(s.builder.folder, "tls/client.key"))
				_ = os.Mkdir(filepath.Join(s.builder.folder, "opt"), 0o755)
				s.builder.write("/.scone/blobs/extra", nil, 0o644)
			}, 66,
			func(*scenario) string {
				return "/.scone/blobs/extra: the image does not list it; /etc/passwd: expected 11 bytes, found 19; " +
					"/etc/shadow: expected mode 0640, found 4640; /opt: the image does not list it; " +
					"/tls/client.key: missing; and 2 more"
			},
		},
		"directory in the place of a file": {
			func(s *scenario) {
				_ = os.Remove(filepath.Join(s.builder.folder, "etc/passwd"))
				_ = os.Mkdir(filepath.Join(s.builder.folder, "etc/passwd"), 0o755)
			}, 66, fixed("/etc/passwd: expected a file, found a directory"),
		},
		"file in a directory that may exist unlisted": {
			func(s *scenario) { s.builder.write("/var/tmp-not", nil, 0o644) }, 66, fixed("/var/tmp-not: the image does not list it"),
		},
		"directory that can be reached into but not listed": {
			func(s *scenario) { _ = os.Chmod(filepath.Join(s.builder.folder, "root"), 0o711) }, 66,
			fixed("/root: expected mode 0700, found 0711; /root: this user can reach into it but not list it, so it cannot be verified"),
		},
		"file that can be executed but not read": {
			func(s *scenario) {
				s.builder.write("/opt/tool", []byte("tool"), 0o711)
				entries := s.image.service["entries"].(map[string]any)
				entries["/opt"] = []any{"d", 0o755, 0, ""}
				entries["/opt/tool"] = []any{"f", 0o711, 4, hexDigest([]byte("tool"))}
				s.builder.seal(s.image)
				s.deliver()
			}, 66, fixed("/opt/tool: this user can execute but not read it, so it cannot be verified"),
		},
		"changed blob": {
			func(s *scenario) {
				blob := "/.scone/blobs/" + hexDigest([]byte("/python/app.py"))[:32]
				content := s.builder.read(blob)
				content[20] ^= 1
				s.builder.write(blob, content, 0o644)
			}, 66,
			func(s *scenario) string {
				blob := "/.scone/blobs/" + hexDigest([]byte("/python/app.py"))[:32]
				found := s.builder.read(blob)
				right := bytes.Clone(found)
				right[20] ^= 1
				return blob + ": content differs (expected sha256 " + hexDigest(right) + ", found " + hexDigest(found) + ")"
			},
		},
		"blob of another file": {
			func(s *scenario) {
				tree := s.image.service["encrypted"].(map[string]any)["/python"].(map[string]any)["entries"].(map[string]any)
				entry := tree["app.py"].([]any)
				sealed := sealTest(s.t, "file\x00/python/other\x000640", []byte(s.builder.encrypted["/python/app.py"]))
				s.builder.write("/.scone/blobs/"+entry[4].(string), sealed, 0o644)
				entry[5] = hexDigest(sealed)
				s.builder.seal(s.image)
				s.deliver()
			}, 66, fixed("/python/app.py: does not open with the key of the policy"),
		},
		"older image": {
			func(s *scenario) { s.policy.Answer["protection"].(map[string]string)["tag"] = strings.Repeat("ab", 16) }, 66,
			func(s *scenario) string {
				return "/.scone/service.fspf: another image than the policy's: expected tag " + strings.Repeat("ab", 16) + ", found " + s.image.tag
			},
		},
		"wrong key": {
			func(s *scenario) { s.policy.Answer["protection"].(map[string]string)["key"] = strings.Repeat("00", 32) }, 66,
			fixed("/.scone/service.fspf: does not open with the key of the policy"),
		},
		"changed base list": {
			func(s *scenario) { s.builder.write("/.scone/base.json", []byte(`{"version":1,"entries":{}}`), 0o644) }, 66,
			func(s *scenario) string {
				return "/.scone/base.json: content differs (expected sha256 " + s.image.service["base"].(string) +
					", found " + hexDigest([]byte(`{"version":1,"entries":{}}`)) + ")"
			},
		},
		"writable root": {
			func(s *scenario) { s.container.Writable = true }, 66,
			fixed("/: the root file system is writable (readOnlyRootFilesystem: true is missing)"),
		},
		"extra mounts": {
			func(s *scenario) { s.container.Mounts["/etc"], s.container.Mounts["/tmp"] = "tmpfs", "tmpfs" }, 66,
			fixed("/etc: a mount that the image does not list; /tmp: a mount that the image does not list"),
		},
		"encrypted directory on disk": {
			func(s *scenario) {
				s.container.Mounts["/python"] = s.volume
				delete(s.container.Mounts, "/.scone/memory")
			}, 66,
			func(s *scenario) string {
				var status syscall.Statfs_t
				_ = syscall.Statfs(s.volume, &status)
				return "/.scone/memory: not a mount, expected tmpfs (a volume in memory); /python: mounted as " +
					filesystemOf(s.t, s.volume) + ", expected tmpfs (a volume in memory)"
			},
		},
		"policy injects more": {
			func(s *scenario) {
				s.policy.Answer["files"] = []map[string]any{{"path": "/usr/bin/program", "content": []byte("x"), "mode": 0o755}}
			}, 66,
			fixed("/tls/client.key: the image was built for this injection file, but the policy does not deliver it; " +
				"/usr/bin/program: the policy injects this file, but the image was built without it"),
		},
		"files without protection": {
			func(s *scenario) { s.policy.Answer["protection"] = nil }, 66,
			fixed("the policy delivers injection files, but no protection of the file system to hold them"),
		},
		"other program": {
			func(s *scenario) { s.policy.Answer["arguments"] = []string{"/usr/lib64/ld.so"} }, 68,
			fixed("the policy's command starts /usr/lib64/ld.so, but the image was built for /usr/bin/program"),
		},
		"no such program": {
			func(s *scenario) {
				s.policy.Answer["arguments"] = []string{"sh"}
				s.policy.Answer["environment"] = map[string]string{"PATH": "relative::/sbin"}
			}, 68,
			fixed("sh was not found in relative::/sbin"),
		},
		"no working directory": {
			func(s *scenario) { s.policy.Answer["working_directory"] = "/nowhere" }, 68,
			fixed("the working directory /nowhere: no such file or directory"),
		},
		"no room in memory": {
			func(s *scenario) {
				s.builder.encrypted["/python/large"] = strings.Repeat("x", 64<<10)
				s.rebuild()
				s.container.Mounts["/python"] = "tmpfs,size=16k"
			}, 68, fixed("cannot write /python/large: no space left on device (the volume in memory is too small)"),
		},
		"too large a command": {
			func(s *scenario) {
				s.policy.Answer["environment"] = map[string]string{"X": strings.Repeat("x", 200<<10)}
			}, 68,
			fixed("/usr/bin/program: the arguments and the environment are too large"),
		},
		"changed measurement": {
			func(s *scenario) {
				s.container.Environment = append(s.container.Environment, "SCONE_STACK=8M")
			}, 65,
			func(s *scenario) string {
				return "unexpected measurement: expected " + s.image.measurement + ", found " + s.measured(map[string]string{"stack": "8M"})
			},
		},
		"changed interpreter": {
			func(s *scenario) { s.builder.write("/usr/bin/program-1.0", []byte("#!/bin/evil"), 0o755) }, 65,
			func(s *scenario) string {
				return "unexpected measurement: expected " + s.image.measurement + ", found " +
					s.measured(map[string]string{"program": hexDigest([]byte("#!/bin/evil"))})
			},
		},
		"wrong CAS key": {
			func(s *scenario) {
				s.container.Environment = append(s.container.Environment, "SCONE_CAS_KEY="+otherKey.String())
			}, 67,
			func(s *scenario) string {
				return s.cas.Address() + ": wrong CAS key: expected " + otherKey.String() + ", found " + enclave.KeyHash(s.cas.KeyDigest()).String()
			},
		},
		"no CAS": {
			func(s *scenario) {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					s.t.Fatal(err)
				}
				s.container.Environment[1] = "SCONE_CAS_ADDR=" + listener.Addr().String()
				s.container.Environment[3] = "SCONE_CAS_TIMEOUT=1"
				listener.Close()
			}, 67,
			func(s *scenario) string {
				return strings.TrimPrefix(s.container.Environment[1], "SCONE_CAS_ADDR=") + ": connection refused (tried for 1s)"
			},
		},
		"not a CAS": {
			func(s *scenario) {
				s.policy.Override = func(writer http.ResponseWriter, _ *http.Request) {
					writer.Header().Set("Location", "https://elsewhere/")
					writer.WriteHeader(http.StatusFound)
				}
			}, 67,
			func(s *scenario) string { return s.cas.Address() + ": answered with status 302, but not as a CAS does" },
		},
		"no config id": {
			func(s *scenario) { s.container.Environment[0] = "SCONE_CONFIG_ID=" }, 64,
			fixed("SCONE_CONFIG_ID is not set: it names <session>/<service>"),
		},
		"no configuration": {
			func(s *scenario) { _ = os.Remove(filepath.Join(s.builder.folder, ".scone/launcher.json")) }, 64,
			fixed("/.scone/launcher.json: no such file or directory (is this a confidential image?)"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			test.change(s)
			seen := s.run()
			expect(t, seen, test.code, refusalPrefix[test.code]+test.line(s))
		})
	}
}

func fixed(line string) func(*scenario) string { return func(*scenario) string { return line } }

// measured computes the measurement of the image with some inputs changed.
func (s *scenario) measured(changed map[string]string) string {
	s.t.Helper()
	built, err := binaries()
	if err != nil {
		s.t.Fatal(err)
	}
	inputs := map[string]string{
		"format": "pulumi-scone measurement v1", "launcher": hexDigest(built["launcher"]), "program": hexDigest(built["program"]),
		"loader": hexDigest([]byte("loader")), "heap": "64M", "stack": "", "dlopen": "0",
	}
	for name, value := range changed {
		inputs[name] = value
	}
	return hexDigest(canonicalJSON(s.t, inputs))
}

func filesystemOf(t *testing.T, folder string) string {
	t.Helper()
	output, err := exec.Command("stat", "-f", "-c", "%T", folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	if name := strings.TrimSpace(string(output)); name != "ext2/ext3" {
		return name
	}
	return "ext4"
}
