package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// container is how the launcher's process is set up: what a container runtime does, as far as the launcher can tell.
type container struct {
	Folder      string            // becomes /
	Writable    bool              // mount / read-write
	Mounts      map[string]string // mount point → "tmpfs", with options after a comma, or the path of a folder to bind
	Termination string            // file that is bound to /dev/termination-log
	User        int
	Arguments   []string
	Environment []string
}

const containerVariable = "LAUNCHER_TEST_CONTAINER"

// TestMain lets this test binary be the first process of a container, because only a process of its own can change its root.
func TestMain(m *testing.M) {
	if text := os.Getenv(containerVariable); text != "" {
		var wanted container
		err := json.Unmarshal([]byte(text), &wanted)
		if err == nil {
			err = wanted.become()
		}
		fmt.Fprintln(os.Stderr, "the test could not set up its container:", err)
		os.Exit(99)
	}
	os.Exit(m.Run())
}

// become runs in a mount namespace of its own and ends in the launcher.
func (c *container) become() error {
	runtime.LockOSThread()
	step := func(what string, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "the test could not set up its container:", what, err)
			os.Exit(99)
		}
	}
	step("private", syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	step("bind", syscall.Mount(c.Folder, c.Folder, "", syscall.MS_BIND, ""))
	step("proc", syscall.Mount("proc", filepath.Join(c.Folder, "proc"), "proc", 0, ""))
	step("dev", syscall.Mount("tmpfs", filepath.Join(c.Folder, "dev"), "tmpfs", 0, "mode=755"))
	log := filepath.Join(c.Folder, "dev/termination-log")
	step("log", os.WriteFile(log, nil, 0o666))
	step("log bind", syscall.Mount(c.Termination, log, "", syscall.MS_BIND, ""))
	for _, point := range sortedKeys(c.Mounts) {
		source, target := c.Mounts[point], filepath.Join(c.Folder, point)
		if options, inMemory := strings.CutPrefix(source, "tmpfs"); inMemory {
			step(point, syscall.Mount("tmpfs", target, "tmpfs", 0, "mode=777"+options))
		} else {
			step(point, os.MkdirAll(target, 0o755))
			step(point, syscall.Mount(source, target, "", syscall.MS_BIND, ""))
		}
	}
	if !c.Writable {
		step("read-only", syscall.Mount("", c.Folder, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	}
	step("chdir", os.Chdir(c.Folder))
	step("pivot", syscall.PivotRoot(".", "."))
	step("detach", syscall.Unmount(".", syscall.MNT_DETACH))
	step("root", os.Chdir("/"))

	// What a careless or hostile host leaves behind: descriptors, umask, ignored and blocked signals.
	for range 3 {
		_, err := syscall.Open("/proc/self/status", syscall.O_RDONLY, 0)
		step("descriptor", err)
	}
	syscall.Umask(0o077)
	ignore := struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}{handler: 1}
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTSTP} {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
	}
	blocked := uint64(1) << (syscall.SIGUSR1 - 1)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 0, uintptr(unsafe.Pointer(&blocked)), 0, 8, 0, 0)
	step("group", syscall.Setgid(c.User))
	step("user", syscall.Setuid(c.User))
	return syscall.Exec("/.scone/launcher", append([]string{"/.scone/launcher"}, c.Arguments...), c.Environment)
}
