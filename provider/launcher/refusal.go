package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"syscall"
	"unicode"
)

// The exit codes of docs/enclave-protocol.md, section 4.
const (
	exitConfiguration = 64
	exitAttestation   = 65
	exitIntegrity     = 66
	exitUnreachable   = 67
	exitStart         = 68
)

const (
	terminationLog   = "/dev/termination-log"
	terminationLimit = 4096 // Kubernetes reads no more
	shownProblems    = 5
)

var refusalPrefix = map[int]string{
	exitConfiguration: "Launcher misconfigured: ",
	exitAttestation:   "Attestation failed: ",
	exitIntegrity:     "Integrity check failed: ",
	exitUnreachable:   "CAS unreachable: ",
	exitStart:         "Start failed: ",
}

// refusal is why the program is not started: one line for people, one exit code for machines, never a secret.
type refusal struct {
	code int
	what string
}

func (r *refusal) Error() string { return refusalPrefix[r.code] + r.what }

func misconfigured(format string, values ...any) error {
	return &refusal{exitConfiguration, fmt.Sprintf(format, values...)}
}

func integrity(format string, values ...any) error {
	return &refusal{exitIntegrity, fmt.Sprintf(format, values...)}
}

func startFailed(format string, values ...any) error {
	return &refusal{exitStart, fmt.Sprintf(format, values...)}
}

// problem is one path that is not as built.
type problem struct{ path, what string }

// refuseProblems names the first few problems by path, and how many more there are.
func refuseProblems(problems []problem) error {
	sort.Slice(problems, func(a, b int) bool {
		if problems[a].path != problems[b].path {
			return problems[a].path < problems[b].path
		}
		return problems[a].what < problems[b].what
	})
	var shown []string
	for _, problem := range problems[:min(len(problems), shownProblems)] {
		shown = append(shown, problem.path+": "+problem.what)
	}
	text := strings.Join(shown, "; ")
	if more := len(problems) - len(shown); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return &refusal{exitIntegrity, text}
}

// report writes the refusal's line to standard error and to where Kubernetes looks for a container's last words.
func report(r *refusal, stderr io.Writer) {
	line := oneLine(r.Error())
	fmt.Fprintln(stderr, line)
	if len(line) > terminationLimit {
		line = strings.ToValidUTF8(line[:terminationLimit], "")
	}
	// The file is the kubelet's: it exists or is not wanted.
	file, err := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		_, _ = file.WriteString(line)
	}
}

// oneLine makes text from elsewhere (a CAS's message, a file's name) safe to print: one line, no control characters.
func oneLine(text string) string {
	return strings.Map(func(letter rune) rune {
		if unicode.IsPrint(letter) {
			return letter
		}
		return '\uFFFD'
	}, text)
}
