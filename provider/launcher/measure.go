package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"pulumi-scone/launcher/internal/enclave"
	"pulumi-scone/launcher/internal/strictjson"
)

const (
	measurementFormat  = "pulumi-scone measurement v1"
	sconeDirectory     = "/.scone"
	configurationPath  = sconeDirectory + "/launcher.json"
	memoryPath         = sconeDirectory + "/memory"
	readyMark          = memoryPath + "/ready"
	selfPath           = "/proc/self/exe"
	configurationLimit = 64 << 10
)

// image is what the launcher finds out about the image before anyone vouches for it.
type image struct {
	configuration     configuration
	configurationFile []byte
	program           string // the program with links resolved
	launcherDigest    string
	launcherSize      int64
	measurement       string
}

// configuration is launcher.json. Its digest stands in the sealed protection, so it is verified after it was used.
type configuration struct {
	program string
	loader  string // "" for a static program
	pin     *enclave.KeyHash
	// What the wrapped image sets for its programs; the policy's own words win. Nobody vouches for it before the protection is verified.
	environment      map[string]string
	workingDirectory string
}

// measureImage reads the image's configuration and computes the measurement of software mode.
func measureImage(p paths, environment map[string]string) (*image, error) {
	found := &image{}
	var err error
	if found.configurationFile, err = readLimited(p.at(configurationPath), configurationLimit); err != nil {
		return nil, misconfigured("%s: %s (is this a confidential image?)", configurationPath, reason(err))
	}
	if found.configuration, err = parseConfiguration(found.configurationFile); err != nil {
		return nil, misconfigured("%s: %s", configurationPath, err)
	}
	// What runs is what is measured, whatever lies at /.scone/launcher; that they are the same is verified later.
	if found.launcherDigest, found.launcherSize, err = hashFile(selfPath); err != nil {
		return nil, misconfigured("the launcher cannot read itself: %s", reason(err))
	}
	var programDigest, loaderDigest string
	if found.program, programDigest, err = hashResolved(p, found.configuration.program); err != nil {
		return nil, misconfigured("program %s: %s", found.configuration.program, reason(err))
	}
	if loader := found.configuration.loader; loader != "" {
		if _, loaderDigest, err = hashResolved(p, loader); err != nil {
			return nil, misconfigured("loader %s: %s", loader, reason(err))
		}
	}
	text, err := measuredText(found.launcherDigest, programDigest, loaderDigest, environment)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(text))
	found.measurement = hex.EncodeToString(digest[:])
	return found, nil
}

// measuredText is the canonical JSON whose SHA-256 is the measurement (docs/image-format.md).
func measuredText(launcher, program, loader string, environment map[string]string) (string, error) {
	dlopen, set := environment["SCONE_ALLOW_DLOPEN"]
	if !set {
		dlopen = "0"
	}
	members := []string{
		"dlopen", dlopen,
		"format", measurementFormat,
		"heap", environment["SCONE_HEAP"],
		"launcher", launcher,
		"loader", loader,
		"program", program,
		"stack", environment["SCONE_STACK"],
	}
	var text strings.Builder
	for index := 0; index < len(members); index += 2 {
		if !utf8.ValidString(members[index+1]) {
			return "", misconfigured("SCONE_HEAP, SCONE_STACK or SCONE_ALLOW_DLOPEN is no text")
		}
		text.WriteString(map[bool]string{true: "{", false: ","}[index == 0])
		text.WriteString(canonicalString(members[index]) + ":" + canonicalString(members[index+1]))
	}
	return text.String() + "}", nil
}

// canonicalString writes a JSON string as canonical JSON demands: encoding/json would escape <, >, & and two line separators.
func canonicalString(text string) string {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	var quoted strings.Builder
	quoted.WriteByte('"')
	for _, letter := range text {
		if escape, special := short[letter]; special {
			quoted.WriteString(escape)
		} else if letter < ' ' {
			fmt.Fprintf(&quoted, `\u%04x`, letter)
		} else {
			quoted.WriteRune(letter)
		}
	}
	quoted.WriteByte('"')
	return quoted.String()
}

func parseConfiguration(data []byte) (configuration, error) {
	var read configuration
	members, err := strictjson.Object(data, []string{"version", "program", "loader"}, []string{"cas_key", "environment", "pwd"})
	if err != nil {
		return read, err
	}
	if _, err = strictjson.Int(members["version"], 1, 1); err != nil {
		return read, errors.New("made for another version of the launcher")
	}
	if read.program, err = strictjson.String(members["program"]); err != nil || !enclave.IsCleanPath(read.program) {
		return read, errors.New("program is not an absolute path")
	}
	if read.loader, err = strictjson.String(members["loader"]); err != nil || (read.loader != "" && !enclave.IsCleanPath(read.loader)) {
		return read, errors.New("loader is neither empty nor an absolute path")
	}
	if value, present := members["cas_key"]; present {
		text, err := strictjson.String(value)
		if err != nil {
			return read, errors.New("cas_key is not a string")
		}
		pin, err := enclave.ParseKeyHash(text)
		if err != nil {
			return read, fmt.Errorf("cas_key is %w", err)
		}
		read.pin = &pin
	}
	if value, present := members["environment"]; present {
		if read.environment, err = strictjson.StringMap(value); err != nil {
			return read, fmt.Errorf("environment: %w", err)
		}
		for name, text := range read.environment {
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(text, "\x00") || strings.HasPrefix(name, "SCONE_") {
				return read, errors.New("environment has a variable that a program cannot get")
			}
		}
	}
	if value, present := members["pwd"]; present {
		if read.workingDirectory, err = strictjson.String(value); err != nil || !enclave.IsCleanPath(read.workingDirectory) {
			return read, errors.New("pwd is not an absolute path")
		}
	}
	return read, nil
}

func hashResolved(p paths, path string) (resolved, digest string, err error) {
	if resolved, err = filepath.EvalSymlinks(p.at(path)); err != nil {
		return "", "", err
	}
	digest, _, err = hashFile(resolved)
	return resolved, digest, err
}

// hashFile returns the SHA-256 and the size of a regular file.
func hashFile(path string) (digest string, size int64, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", 0, errors.New("not a regular file")
	}
	hash := sha256.New()
	size, err = io.Copy(hash, file)
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

// readLimited returns the content of a regular file that is not larger than limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(file, content); err != nil {
		return nil, err
	}
	return content, nil
}

// reason is the bare cause of a file error: the path stands in the message already.
func reason(err error) string {
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		return inPath.Err.Error()
	}
	var inLink *os.LinkError
	if errors.As(err, &inLink) {
		return inLink.Err.Error()
	}
	return err.Error()
}
