package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"pulumi-scone/launcher/internal/enclave"
	"pulumi-scone/launcher/internal/strictjson"
)

const (
	basePath     = sconeDirectory + "/base.json"
	servicePath  = sconeDirectory + "/service.fspf"
	blobsPath    = sconeDirectory + "/blobs"
	baseLimit    = 256 << 20
	serviceLimit = 64 << 20
	nonceSize    = 12
	sealOverhead = nonceSize + 16
	largestFile  = 1 << 31
	highestMode  = 0o7777
	tagSize      = 16
)

// entry is one protected path: what it is and, for files, what it contains (docs/image-format.md, "Base protection").
type entry struct {
	kind   byte // 'f' file, 'd' directory, 'l' link, 'o' anything else
	mode   uint32
	size   int64
	digest string // SHA-256 of a file, target of a link
	seen   bool
}

// encryptedEntry is a path below an encrypted directory; blob and blobDigest are set for files.
type encryptedEntry struct {
	entry
	blob, blobDigest string
}

type encryptedDirectory struct {
	mode    uint32
	entries map[string]*encryptedEntry // by relative path
}

// protection is what the image must look like: base and service together.
type protection struct {
	baseDigest, launcherDigest, configurationDigest string
	entries                                         map[string]*entry
	encrypted                                       map[string]*encryptedDirectory
	injected                                        map[string]string // path → name under /.scone/memory
	volumes, unprotected                            []string
	baseSize, serviceSize                           int64
}

// loadProtection verifies the protection file against the delivered tag and key, and everything it vouches for under /.scone.
func loadProtection(p paths, image *image, delivered *enclave.Protection) (*protection, error) {
	sealed, err := readLimited(p.at(servicePath), serviceLimit)
	if err != nil {
		return nil, integrity("%s: %s", servicePath, reason(err))
	}
	plaintext, err := openProtection(sealed, delivered)
	if err != nil {
		return nil, err
	}
	loaded, err := parseService(plaintext)
	if err != nil {
		return nil, integrity("%s: %s", servicePath, err)
	}
	base, err := readLimited(p.at(basePath), baseLimit)
	if err != nil {
		return nil, integrity("%s: %s", basePath, reason(err))
	}
	for _, part := range []struct{ path, found, expected string }{
		{basePath, digestOf(base), loaded.baseDigest},
		{sconeDirectory + "/launcher", image.launcherDigest, loaded.launcherDigest},
		{configurationPath, digestOf(image.configurationFile), loaded.configurationDigest},
	} {
		if part.found != part.expected {
			return nil, integrity("%s: %s", part.path, differs(part.expected, part.found))
		}
	}
	if err := loaded.addBase(base); err != nil {
		return nil, integrity("%s: %s", basePath, err)
	}
	loaded.baseSize, loaded.serviceSize = int64(len(base)), int64(len(sealed))
	return loaded, nil
}

func openProtection(sealed []byte, delivered *enclave.Protection) ([]byte, error) {
	digest := sha256.Sum256(sealed)
	if delivered.Tag != nil && subtle.ConstantTimeCompare(digest[:tagSize], delivered.Tag) != 1 {
		return nil, integrity("%s: another image than the policy's: expected tag %x, found %x", servicePath, delivered.Tag, digest[:tagSize])
	}
	plaintext, err := unseal(sealed, delivered.Key, "root")
	if err != nil {
		return nil, integrity("%s: does not open with the key of the policy", servicePath)
	}
	return plaintext, nil
}

// unseal opens nonce ‖ AES-256-GCM(…) in place under a label.
func unseal(sealed, key []byte, label string) ([]byte, error) {
	if len(sealed) < sealOverhead {
		return nil, errors.New("too short")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return aead.Open(sealed[nonceSize:nonceSize], sealed[:nonceSize], sealed[nonceSize:], []byte(label))
}

func fileLabel(path string, mode uint32) string {
	return fmt.Sprintf("file\x00%s\x00%04o", path, mode)
}

func injectedName(path string) string {
	digest := sha256.Sum256([]byte(path))
	return "files/" + hex.EncodeToString(digest[:])[:32]
}

func digestOf(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

func differs(expected, found string) string {
	return fmt.Sprintf("content differs (expected sha256 %s, found %s)", expected, found)
}

// parseService reads the opened root of the protection.
func parseService(plaintext []byte) (*protection, error) {
	members, err := strictjson.Object(plaintext, []string{
		"version", "base", "launcher", "configuration", "entries", "encrypted", "injected", "volumes", "unprotected",
	}, nil)
	if err != nil {
		return nil, err
	}
	if _, err = strictjson.Int(members["version"], 1, 1); err != nil {
		return nil, errors.New("made for another version of the launcher")
	}
	read := &protection{entries: map[string]*entry{}, encrypted: map[string]*encryptedDirectory{}}
	for key, into := range map[string]*string{
		"base": &read.baseDigest, "launcher": &read.launcherDigest, "configuration": &read.configurationDigest,
	} {
		if *into, err = parseDigest(members[key]); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	if err := read.addEntries(members["entries"]); err != nil {
		return nil, err
	}
	if err := strictjson.Members(members["encrypted"], read.addEncrypted); err != nil {
		return nil, err
	}
	if read.injected, err = strictjson.StringMap(members["injected"]); err != nil {
		return nil, fmt.Errorf("injected: %w", err)
	}
	if read.volumes, err = parsePaths(members["volumes"]); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	if read.unprotected, err = parsePaths(members["unprotected"]); err != nil {
		return nil, fmt.Errorf("unprotected: %w", err)
	}
	return read, read.check()
}

// check refuses a protection that contradicts itself.
func (p *protection) check() error {
	for directory := range p.encrypted {
		for parent := path.Dir(directory); parent != "/"; parent = path.Dir(parent) {
			if p.encrypted[parent] != nil {
				return fmt.Errorf("encrypted directory %s lies in another one", directory)
			}
		}
	}
	for injected, name := range p.injected {
		link := p.lookup(injected)
		if name != injectedName(injected) || link == nil || link.kind != 'l' || link.digest != memoryPath+"/"+name {
			return fmt.Errorf("injected path %s is not a link into %s", injected, memoryPath)
		}
	}
	return nil
}

// lookup finds the service's own entry of an absolute path, in the clear or encrypted.
func (p *protection) lookup(absolute string) *entry {
	for directory, encrypted := range p.encrypted {
		if relative, below := strings.CutPrefix(absolute, directory+"/"); below {
			if found := encrypted.entries[relative]; found != nil {
				return &found.entry
			}
			return nil
		}
	}
	return p.entries[absolute]
}

// addBase adds the base's entries below the service's: an entry of the service overrides.
func (p *protection) addBase(base []byte) error {
	members, err := strictjson.Object(base, []string{"version", "entries"}, nil)
	if err != nil {
		return err
	}
	if _, err = strictjson.Int(members["version"], 1, 1); err != nil {
		return errors.New("made for another version of the launcher")
	}
	return p.addEntries(members["entries"])
}

func (p *protection) addEntries(data json.RawMessage) error {
	return strictjson.Members(data, func(name string, value json.RawMessage) error {
		if !enclave.IsCleanPath(name) || name == sconeDirectory || strings.HasPrefix(name, sconeDirectory+"/") {
			return errors.New("an entry whose path is not allowed")
		}
		fields, err := strictjson.Array(value)
		if err != nil || len(fields) != 4 {
			return fmt.Errorf("%s: not [type, mode, size, digest]", name)
		}
		read, err := parseEntry(fields)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if p.entries[name] == nil {
			p.entries[name] = &read
		}
		return nil
	})
}

func (p *protection) addEncrypted(directory string, value json.RawMessage) error {
	if !enclave.IsCleanPath(directory) || directory == "/" || directory == sconeDirectory || strings.HasPrefix(directory, sconeDirectory+"/") {
		return errors.New("an encrypted directory whose path is not allowed")
	}
	members, err := strictjson.Object(value, []string{"mode", "entries"}, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", directory, err)
	}
	mode, err := strictjson.Int(members["mode"], 0, int64(fs.ModePerm))
	if err != nil {
		return fmt.Errorf("%s: mode: %w", directory, err)
	}
	read := &encryptedDirectory{mode: uint32(mode), entries: map[string]*encryptedEntry{}}
	err = strictjson.Members(members["entries"], func(name string, value json.RawMessage) error {
		fields, err := strictjson.Array(value)
		if err != nil || !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
			return errors.New("an entry that is not understood")
		}
		read.entries[name], err = parseEncryptedEntry(fields)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", directory, err)
	}
	for name := range read.entries {
		if parent := path.Dir(name); parent != "." && (read.entries[parent] == nil || read.entries[parent].kind != 'd') {
			return fmt.Errorf("%s: an entry without its directory", directory)
		}
	}
	p.encrypted[directory] = read
	return nil
}

func parseEncryptedEntry(fields []json.RawMessage) (*encryptedEntry, error) {
	if len(fields) != 4 && len(fields) != 6 {
		return nil, errors.New("an entry of the wrong length")
	}
	plain, err := parseEntry(fields[:4])
	if err != nil {
		return nil, err
	}
	read := &encryptedEntry{entry: plain}
	if plain.kind == 'o' || (plain.kind == 'f') != (len(fields) == 6) || plain.mode > uint32(fs.ModePerm) || plain.size > largestFile {
		return nil, errors.New("an entry that is not understood")
	}
	if plain.kind != 'f' {
		return read, nil
	}
	name, err := strictjson.Hex(fields[4], tagSize)
	if err != nil {
		return nil, fmt.Errorf("blob name: %w", err)
	}
	read.blob = hex.EncodeToString(name)
	if read.blobDigest, err = parseDigest(fields[5]); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return read, nil
}

func parseEntry(fields []json.RawMessage) (entry, error) {
	var read entry
	kind, err := strictjson.String(fields[0])
	if err != nil || len(kind) != 1 || !strings.Contains("fdlo", kind) {
		return read, errors.New("unknown type")
	}
	mode, err := strictjson.Int(fields[1], 0, highestMode)
	if err != nil {
		return read, fmt.Errorf("mode: %w", err)
	}
	size, err := strictjson.Int(fields[2], 0, 1<<62)
	if err != nil {
		return read, fmt.Errorf("size: %w", err)
	}
	read = entry{kind: kind[0], mode: uint32(mode), size: size}
	if read.kind == 'f' {
		read.digest, err = parseDigest(fields[3])
		return read, err
	}
	read.digest, err = strictjson.String(fields[3])
	if err != nil || (read.kind == 'l') != (read.digest != "") || read.size != 0 || (read.kind == 'l' && read.mode != 0) {
		return read, errors.New("not an entry of its type")
	}
	return read, nil
}

func parseDigest(value json.RawMessage) (string, error) {
	digest, err := strictjson.Hex(value, sha256.Size)
	return hex.EncodeToString(digest), err
}

func parsePaths(value json.RawMessage) ([]string, error) {
	names, err := strictjson.Strings(value)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !enclave.IsCleanPath(name) || name == "/" || name == sconeDirectory || strings.HasPrefix(name, sconeDirectory+"/") {
			return nil, errors.New("a path that is not allowed")
		}
	}
	return names, nil
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}
