package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

const (
	defaultPath       = "/usr/local/bin:/usr/bin:/bin"
	programUmask      = 0o022
	firstInherited    = 3
	readyMode         = 0o644
	sysCloseRange     = 436 // newer than package syscall
	closeRangeCloexec = 4
	prSetDumpable     = 4
	prSetNoNewPrivs   = 38
	lastSignal        = 64
	signalSetSize     = 8
	sigSetMask        = 2
	setIDBits         = os.ModeSetuid | os.ModeSetgid
)

// protectProcess keeps keys out of core dumps and away from other processes of the same user while the launcher works,
// and takes the umask from the host, for the launcher as for the program.
func protectProcess() {
	syscall.Umask(programUmask)
	// The hard limit stays over the exec: a dump of the program would contain its secrets, and the node would keep it.
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	// This one ends with the exec, after which the program's own memory is its own affair.
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0)
}

// renouncePrivileges keeps the program and its children from becoming a user who can read what was not verified, and from
// privileges by file owners and file capabilities, which the protection does not list.
func renouncePrivileges() error {
	// The attribute is per thread; the exec happens on this one.
	runtime.LockOSThread()
	if _, _, number := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); number != 0 {
		return startFailed("cannot renounce privileges: %s", number)
	}
	return nil
}

// become executes the program; it only returns when that fails.
func become(image *image, answer *answer, log *logger) error {
	if answer.Protection != nil {
		// The image's configuration was verified with everything else; without a tag it is anybody's word.
		useDefaults(image.configuration, answer)
	}
	if err := os.Chdir(answer.WorkingDirectory); err != nil {
		return startFailed("the working directory %s: %s", answer.WorkingDirectory, reason(err))
	}
	arguments := answer.Arguments
	if len(arguments) == 0 {
		arguments = []string{image.configuration.program}
	}
	program, err := findProgram(arguments[0], answer.Environment)
	if err != nil {
		return err
	}
	if resolved, err := filepath.EvalSymlinks(program); err != nil || resolved != image.program {
		return startFailed("the policy's command starts %s, but the image was built for %s", program, image.configuration.program)
	}
	if info, err := os.Stat(program); err != nil || info.Mode()&setIDBits != 0 {
		return startFailed("%s changes its user when it starts: what it could read was not verified", program)
	}
	environment := make([]string, 0, len(answer.Environment))
	for _, name := range sortedKeys(answer.Environment) {
		environment = append(environment, name+"="+answer.Environment[name])
	}
	log.info("everything is verified, starting %s", program)
	if err := markReady(answer.Protection != nil, log); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := shedInherited(); err != nil {
		return startFailed("cannot drop what the host left open: %s", err)
	}
	err = syscall.Exec(program, arguments, environment)
	_ = os.Remove(readyMark)
	return startFailed("%s: %s", program, execReason(err))
}

// useDefaults fills in what the image says and the policy does not.
func useDefaults(configuration configuration, answer *answer) {
	if answer.WorkingDirectory == "/" && configuration.workingDirectory != "" {
		answer.WorkingDirectory = configuration.workingDirectory
	}
	for name, value := range configuration.environment {
		if _, set := answer.Environment[name]; !set {
			answer.Environment[name] = value
		}
	}
}

// markReady leaves the mark that the readiness probe looks for.
func markReady(required bool, log *logger) error {
	file, err := os.OpenFile(readyMark, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, readyMode)
	if err == nil {
		err = file.Close()
	}
	if err != nil && required {
		return startFailed("%s: %s", readyMark, reason(err))
	}
	if err != nil {
		log.warn("%s: %s: the readiness probe will not succeed", readyMark, reason(err))
	}
	return nil
}

// findProgram looks the command up as execvp does, but only in absolute directories.
func findProgram(command string, environment map[string]string) (string, error) {
	if strings.Contains(command, "/") {
		absolute, err := filepath.Abs(command)
		if err != nil {
			return "", startFailed("%s: %s", command, reason(err))
		}
		return absolute, nil
	}
	search, set := environment["PATH"]
	if !set {
		search = defaultPath
	}
	for _, directory := range filepath.SplitList(search) {
		if !filepath.IsAbs(directory) {
			continue
		}
		candidate := filepath.Join(directory, command)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", startFailed("%s was not found in %s", command, search)
}

// shedInherited resets what a process keeps over an exec: descriptors above 2, ignored and blocked signals.
// From here on nothing but the exec may happen: Go's own signal handlers are gone.
func shedInherited() error {
	if err := closeOnExec(); err != nil {
		return err
	}
	// The kernel's own calls, because os/signal gives an inherited "ignore" back when it is asked to reset.
	var byDefault struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	for signal := uintptr(1); signal <= lastSignal; signal++ {
		if syscall.Signal(signal) == syscall.SIGKILL || syscall.Signal(signal) == syscall.SIGSTOP {
			continue
		}
		_, _, number := syscall.RawSyscall6(
			syscall.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(&byDefault)), 0, signalSetSize, 0, 0)
		if number != 0 {
			return number
		}
	}
	var none uint64
	_, _, number := syscall.RawSyscall6(
		syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&none)), 0, signalSetSize, 0, 0)
	if number != 0 {
		return number
	}
	return nil
}

// closeOnExec marks every descriptor above 2, so that the exec closes them all at once.
func closeOnExec() error {
	if _, _, number := syscall.RawSyscall(sysCloseRange, firstInherited, ^uintptr(0)>>32, closeRangeCloexec); number == 0 {
		return nil
	}
	// Kernels before 5.11, and seccomp profiles that do not know the call.
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, name := range names {
		if descriptor, err := strconv.Atoi(name.Name()); err == nil && descriptor >= firstInherited {
			syscall.CloseOnExec(descriptor)
		}
	}
	return nil
}

func execReason(err error) string {
	if errors.Is(err, syscall.E2BIG) {
		return "the arguments and the environment are too large"
	}
	return reason(err)
}
