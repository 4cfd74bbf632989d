package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testKey is the image's fspf_key in all tests.
var testKey = []byte("an AES key of exactly 32 bytes!!")

// testImage is a confidential image that lies in a folder, and what a policy for it would deliver.
type testImage struct {
	folder      string
	tag         string
	measurement string
	service     map[string]any
}

// builder assembles the image's files as docs/image-format.md says; nothing of it is the launcher's code.
type builder struct {
	t         testing.TB
	folder    string
	program   string
	loader    string
	encrypted map[string]string // /python/<path> → content; a trailing slash makes a directory, a leading "->" a link
	injected  []string
	volumes   []string
	pin       string
	defaults  map[string]any // more members of launcher.json
}

func hexDigest(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

func canonicalJSON(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value) // test images contain nothing that canonical JSON would spell otherwise
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (b *builder) write(name string, content []byte, mode fs.FileMode) {
	b.t.Helper()
	target := filepath.Join(b.folder, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(target, content, mode); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(target, mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *builder) link(target, name string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(b.folder, name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(b.folder, name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *builder) read(name string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.folder, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// scan lists what lies in the folder now: the base's entries.
func (b *builder) scan() map[string]any {
	b.t.Helper()
	entries := map[string]any{}
	err := filepath.Walk(b.folder, func(path string, info fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, b.folder)
		if name == "" {
			name = "/"
		}
		for _, excluded := range []string{"/.scone", "/dev", "/proc", "/sys", "/run", "/tmp"} {
			if name == excluded {
				return filepath.SkipDir
			}
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			entries[name] = []any{"d", mode.Perm(), 0, ""}
		case mode.IsRegular():
			entries[name] = []any{"f", mode.Perm(), info.Size(), hexDigest(b.read(name))}
		case mode&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			entries[name] = []any{"l", 0, 0, target}
		default:
			entries[name] = []any{"o", mode.Perm(), 0, ""}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return entries
}

// sealTest uses a nonce made of the label, which is enough for keys that are worthless.
func sealTest(t testing.TB, label string, plaintext []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := sha256.Sum256([]byte(label))
	return append(nonce[:12:12], aead.Seal(nil, nonce[:12], plaintext, []byte(label))...)
}

// build turns the folder into a confidential image with this launcher.
func (b *builder) build(launcher []byte) *testImage {
	b.t.Helper()
	base := canonicalJSON(b.t, map[string]any{"version": 1, "entries": b.scan()})
	b.write("/.scone/launcher", launcher, 0o755)
	b.write("/.scone/base.json", base, 0o644)
	settings := map[string]any{"version": 1, "program": b.program, "loader": b.loader}
	if b.pin != "" {
		settings["cas_key"] = b.pin
	}
	maps.Copy(settings, b.defaults)
	configuration := canonicalJSON(b.t, settings)
	b.write("/.scone/launcher.json", configuration, 0o644)
	entries := map[string]any{"/python": []any{"d", 0o755, 0, ""}}
	tree := map[string]any{}
	for name, content := range b.encrypted {
		relative := strings.TrimSuffix(strings.TrimPrefix(name, "/python/"), "/")
		switch {
		case strings.HasSuffix(name, "/"):
			tree[relative] = []any{"d", 0o750, 0, ""}
		case strings.HasPrefix(content, "->"):
			tree[relative] = []any{"l", 0, 0, strings.TrimPrefix(content, "->")}
		default:
			sealed := sealTest(b.t, "file\x00"+name+"\x000640", []byte(content))
			blob := hexDigest([]byte(name))[:32]
			b.write("/.scone/blobs/"+blob, sealed, 0o644)
			tree[relative] = []any{"f", 0o640, len(content), hexDigest([]byte(content)), blob, hexDigest(sealed)}
		}
	}
	injected := map[string]string{}
	for _, name := range b.injected {
		injected[name] = "files/" + hexDigest([]byte(name))[:32]
		target := "/.scone/memory/" + injected[name]
		b.link(target, name)
		entries[name] = []any{"l", 0, 0, target}
		entries[filepath.Dir(name)] = []any{"d", 0o755, 0, ""}
	}
	service := map[string]any{
		"version": 1, "base": hexDigest(base), "launcher": hexDigest(launcher), "configuration": hexDigest(configuration),
		"entries":   entries,
		"encrypted": map[string]any{"/python": map[string]any{"mode": 0o755, "entries": tree}},
		"injected":  injected, "volumes": append([]string{}, b.volumes...), "unprotected": []string{"/var/log/app"},
	}
	for _, directory := range []string{"/.scone/memory", "/python", "/dev", "/proc", "/sys", "/tmp"} {
		if err := os.MkdirAll(filepath.Join(b.folder, directory), 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	image := &testImage{folder: b.folder, service: service}
	b.seal(image)
	measured := map[string]string{
		"format": "pulumi-scone measurement v1", "launcher": hexDigest(launcher), "program": hexDigest(b.read(b.program)),
		"loader": "", "heap": "64M", "stack": "", "dlopen": "0",
	}
	if b.loader != "" {
		measured["loader"] = hexDigest(b.read(b.loader))
	}
	image.measurement = hexDigest(canonicalJSON(b.t, measured))
	return image
}

// seal writes the protection file of the image as it stands in image.service.
func (b *builder) seal(image *testImage) {
	b.t.Helper()
	sealed := sealTest(b.t, "root", canonicalJSON(b.t, image.service))
	b.write("/.scone/service.fspf", sealed, 0o644)
	image.tag = hexDigest(sealed)[:32]
}
