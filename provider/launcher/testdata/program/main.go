// Command program is what the launcher's end-to-end test starts: it prints, as JSON, everything that it inherited.
package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

func main() {
	umask := syscall.Umask(0)
	var core syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_CORE, &core)
	directory, _ := os.Getwd()
	report := map[string]any{
		"arguments": os.Args, "environment": os.Environ(), "working_directory": directory, "umask": umask,
		"core": core.Max, "uid": os.Getuid(), "descriptors": descriptors(), "tree": tree(os.Args[1:]),
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "SigIgn" || name == "SigBlk" || name == "NoNewPrivs" {
			report[name] = strings.TrimSpace(value)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(report)
}

// descriptors lists what is open and was not opened by this process itself.
func descriptors() []string {
	names, _ := os.ReadDir("/proc/self/fd")
	var open []string
	for _, name := range names {
		target, err := os.Readlink("/proc/self/fd/" + name.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:") {
			open = append(open, name.Name())
		}
	}
	sort.Strings(open)
	return open
}

// tree reads whatever lies in the directories: path to mode and content.
func tree(roots []string) map[string]string {
	found := map[string]string{}
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				found[path] = err.Error()
				return nil
			}
			info, _ := entry.Info()
			content := ""
			if info.Mode().IsRegular() {
				data, _ := os.ReadFile(path)
				content = " " + string(data)
			} else if info.Mode()&os.ModeSymlink != 0 {
				target, _ := os.Readlink(path)
				content = " -> " + target
			}
			found[path] = info.Mode().String() + content
			return nil
		})
	}
	return found
}
