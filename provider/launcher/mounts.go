package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
)

const (
	mountinfoPath  = "/proc/self/mountinfo"
	mountinfoLimit = 16 << 20
)

// mount is one line of /proc/self/mountinfo (proc(5)).
type mount struct {
	point      string
	filesystem string
	readOnly   bool
}

func readMounts(path string) ([]mount, error) {
	// Not readLimited: files of /proc state no size.
	data, err := readProc(path, mountinfoLimit)
	if err != nil {
		return nil, integrity("%s: %s", path, reason(err))
	}
	mounts, err := parseMounts(data)
	if err != nil {
		return nil, integrity("%s: %s", path, err)
	}
	return mounts, nil
}

// parseMounts refuses what it does not understand: a mount that is not seen is a mount that is not checked.
func parseMounts(data []byte) ([]mount, error) {
	var mounts []mount
	for line := range bytes.Lines(data) {
		fields := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
		separator := -1
		for index := 6; index < len(fields); index++ {
			if fields[index] == "-" {
				separator = index
				break
			}
		}
		if separator < 0 || len(fields) < separator+4 {
			return nil, errors.New("a line that is not understood")
		}
		point, err := unescapeMount(fields[4])
		if err != nil {
			return nil, err
		}
		options := strings.Split(fields[5], ",")
		superblock := strings.Split(fields[separator+3], ",")
		mounts = append(mounts, mount{
			point:      point,
			filesystem: fields[separator+1],
			readOnly:   options[0] == "ro" || superblock[0] == "ro",
		})
	}
	return mounts, nil
}

// unescapeMount undoes the kernel's octal escapes of space, tab, newline, backslash and number sign.
func unescapeMount(field string) (string, error) {
	var point strings.Builder
	for index := 0; index < len(field); index++ {
		if field[index] != '\\' {
			point.WriteByte(field[index])
			continue
		}
		if index+3 >= len(field) {
			return "", errors.New("a mount point with a broken escape")
		}
		value := 0
		for _, digit := range []byte(field[index+1 : index+4]) {
			if digit < '0' || digit > '7' {
				return "", errors.New("a mount point with a broken escape")
			}
			value = 8*value + int(digit-'0')
		}
		if value == 0 || value > 255 {
			return "", errors.New("a mount point with a broken escape")
		}
		point.WriteByte(byte(value))
		index += 3
	}
	if !strings.HasPrefix(point.String(), "/") {
		return "", errors.New("a mount point that is no absolute path")
	}
	return point.String(), nil
}

// checkMounts compares the mounts with those that the image allows (docs/image-format.md, "What the launcher verifies", 3 and 4).
func checkMounts(mounts []mount, protection *protection) []problem {
	var problems []problem
	memory := map[string]bool{memoryPath: false}
	for directory := range protection.encrypted {
		memory[directory] = false
	}
	volumes := setOf(protection.volumes)
	rooted := false
	for _, mount := range mounts {
		_, inMemory := memory[mount.point]
		switch {
		case mount.point == "/":
			rooted = true
			if !mount.readOnly {
				problems = append(problems, problem{"/", "the root file system is writable (readOnlyRootFilesystem: true is missing)"})
			}
		case inMemory:
			memory[mount.point] = true
			if mount.filesystem != "tmpfs" {
				problems = append(problems, problem{mount.point, "mounted as " + mount.filesystem + ", expected tmpfs (a volume in memory)"})
			}
		case volumes[mount.point], runtimeFiles[mount.point], isRuntimeMount(mount.point):
		default:
			problems = append(problems, problem{mount.point, "a mount that the image does not list" + mountHint(mount.point)})
		}
	}
	if !rooted {
		problems = append(problems, problem{"/", "no mount: the root file system cannot be judged"})
	}
	for directory, found := range memory {
		if !found {
			problems = append(problems, problem{directory, "not a mount, expected tmpfs (a volume in memory)"})
		}
	}
	return problems
}

func isRuntimeMount(point string) bool {
	for _, directory := range []string{"/proc", "/sys", "/dev"} {
		if point == directory || strings.HasPrefix(point, directory+"/") {
			return true
		}
	}
	return false
}

func mountHint(point string) string {
	if strings.HasSuffix(point, "/secrets/kubernetes.io/serviceaccount") {
		return " (automountServiceAccountToken: false is missing)"
	}
	return ""
}

func readProc(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errors.New("too large")
	}
	return data, err
}
