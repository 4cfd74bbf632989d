package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"pulumi-scone/launcher/internal/enclave"
)

// host is what the host supplied. It travels in the evidence, so that a policy may take single values from it by
// @@1 or @@NAME, and never reaches the program otherwise.
type host struct {
	arguments   []string
	environment map[string]string
}

// settings are the host's variables that the launcher itself obeys before attestation.
type settings struct {
	configID string
	address  string // host:port
	pin      *enclave.KeyHash
	timeout  time.Duration
}

const (
	longestConfigID = 1024
	defaultPort     = "18765"
	defaultTimeout  = 30
	longestTimeout  = 3600
)

// runtimeVariables change how a Go program behaves before its first line runs.
var runtimeVariables = []string{"GODEBUG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GOTRACEBACK", "GORACE", "GOCOVERDIR"}

// shedRuntimeVariables starts the launcher anew without variables that steer Go's runtime and standard library, so that
// the host cannot loosen TLS, swap the resolver or turn collection off. What the host's kernel does to the
// process remains: software mode has no defence against that. A policy cannot read these variables by @@NAME.
func shedRuntimeVariables() error {
	environment, shed := withoutRuntimeVariables(os.Environ())
	if !shed {
		return nil
	}
	err := syscall.Exec("/proc/self/exe", os.Args, environment)
	return startFailed("the launcher cannot start itself anew without Go's variables: %s", err)
}

func withoutRuntimeVariables(environment []string) (kept []string, shed bool) {
	kept = make([]string, 0, len(environment))
variables:
	for _, variable := range environment {
		for _, name := range runtimeVariables {
			if strings.HasPrefix(variable, name+"=") {
				shed = true
				continue variables
			}
		}
		kept = append(kept, variable)
	}
	return kept, shed
}

// readHost takes the host's variables as text: what is no UTF-8 cannot travel in JSON and is left out, and of two equal
// names the first counts, as for getenv.
func readHost(arguments, environment []string) host {
	read := host{arguments: []string{}, environment: map[string]string{}}
	for _, argument := range arguments {
		read.arguments = append(read.arguments, strings.ToValidUTF8(argument, "\uFFFD"))
	}
	for _, variable := range environment {
		name, value, found := strings.Cut(variable, "=")
		if _, twice := read.environment[name]; !found || name == "" || twice || !utf8.ValidString(variable) {
			continue
		}
		read.environment[name] = value
	}
	return read
}

func readSettings(environment map[string]string) (*settings, error) {
	read := &settings{configID: environment["SCONE_CONFIG_ID"], timeout: defaultTimeout * time.Second}
	session, service, found := cutLast(read.configID, "/")
	switch {
	case read.configID == "":
		return nil, misconfigured("SCONE_CONFIG_ID is not set: it names <session>/<service>")
	case len(read.configID) > longestConfigID:
		return nil, misconfigured("SCONE_CONFIG_ID is longer than %d characters", longestConfigID)
	case !found || session == "" || service == "":
		return nil, misconfigured("SCONE_CONFIG_ID %q does not name <session>/<service>", read.configID)
	}
	var err error
	if read.address, err = parseAddress(environment["SCONE_CAS_ADDR"]); err != nil {
		return nil, err
	}
	if text := environment["SCONE_CAS_KEY"]; text != "" {
		pin, err := enclave.ParseKeyHash(text)
		if err != nil {
			return nil, misconfigured("SCONE_CAS_KEY is %s", err)
		}
		read.pin = &pin
	}
	if text := environment["SCONE_CAS_TIMEOUT"]; text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 1 || seconds > longestTimeout {
			return nil, misconfigured("SCONE_CAS_TIMEOUT %q is not a number of seconds from 1 to %d", text, longestTimeout)
		}
		read.timeout = time.Duration(seconds) * time.Second
	}
	return read, nil
}

// parseAddress takes host, host:port, [v6] or [v6]:port and returns host:port.
func parseAddress(text string) (string, error) {
	if text == "" {
		return "", misconfigured("SCONE_CAS_ADDR is not set: it names the CAS as host or host:port")
	}
	wrong := misconfigured("SCONE_CAS_ADDR %q is not host or host:port", text)
	name, port := text, defaultPort
	if address := net.ParseIP(text); address == nil {
		if bracketed, isBracketed := strings.CutPrefix(text, "["); isBracketed && strings.HasSuffix(text, "]") {
			name = strings.TrimSuffix(bracketed, "]")
		} else if strings.Contains(text, ":") {
			var err error
			if name, port, err = net.SplitHostPort(text); err != nil {
				return "", wrong
			}
		}
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", wrong
	}
	if name == "" || strings.ContainsAny(name, "/@?#%\\ \t\r\n") {
		return "", wrong
	}
	if strings.Contains(name, ":") && net.ParseIP(name) == nil {
		return "", wrong
	}
	return net.JoinHostPort(name, port), nil
}

func cutLast(text, separator string) (before, after string, found bool) {
	if index := strings.LastIndex(text, separator); index >= 0 {
		return text[:index], text[index+len(separator):], true
	}
	return text, "", false
}
