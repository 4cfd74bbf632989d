package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pulumi-scone/launcher/internal/enclave"
	"pulumi-scone/launcher/internal/enclavetest"
)

func cas(t *testing.T) (*enclavetest.Server, []string) {
	t.Helper()
	server := enclavetest.Start()
	t.Cleanup(server.Close)
	server.ConfigID, server.Measurements = "a/b", []string{strings.Repeat("ab", 32)}
	server.Answer = map[string]any{
		"protocol": 1, "config_id": "a/b", "arguments": []string{"x"}, "environment": map[string]string{"A": "<b>"},
		"working_directory": "/", "protection": nil, "files": []any{},
	}
	return server, []string{"-cas", server.Address(), "-config-id", "a/b", "-measurement", strings.Repeat("ab", 32)}
}

// TestForgery proves that software evidence can be forged by whoever reaches the port: the limit that docs/security.md names.
func TestForgery(t *testing.T) {
	server, flags := cas(t)
	var stdout, stderr bytes.Buffer
	flags = append(flags, "-key", enclave.KeyHash(server.KeyDigest()).String(), "-argument", "one", "-env", "NAME=v=w", "-debug=false")
	if code := run(flags, &stdout, &stderr); code != 0 {
		t.Fatal(code, stderr.String())
	}
	var answer enclave.Answer
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil || answer.Environment["A"] != "<b>" {
		t.Error(stdout.String(), err)
	}
	if seen := server.Seen()[0]; seen.Debug || seen.HostArguments[0] != "one" || seen.HostEnvironment["NAME"] != "v=w" {
		t.Error(seen)
	}
}

// TestMany proves that a run of many attestations counts each of them, refusals by their words.
func TestMany(t *testing.T) {
	server, flags := cas(t)
	server.Busy = 2
	var stdout, stderr bytes.Buffer
	if code := run(append(flags, "-n", "12", "-c", "3"), &stdout, &stderr); code != 0 {
		t.Fatal(code, stderr.String())
	}
	var result summary
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	if result.Count != 12 || result.Succeeded != 10 || result.Errors["the CAS is busy"] != 2 || result.Seconds <= 0 || len(server.Seen()) != 10 {
		t.Error(stdout.String())
	}
}

// TestWrongUse proves that wrong flags and refusals end in different exit codes.
func TestWrongUse(t *testing.T) {
	_, flags := cas(t)
	for code, change := range map[int][]string{
		65: {"-config-id", "a/c"},
		64: {"-n", "0"},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(append(flags, change...), &stdout, &stderr); got != code || stdout.Len() != 0 || stderr.Len() == 0 {
			t.Error(change, got, stdout.String(), stderr.String())
		}
	}
	for _, change := range [][]string{{"-env", "x"}, {"-key", "x"}, {"extra"}, {"-no-such-flag"}} {
		var stdout, stderr bytes.Buffer
		if got := run(append(flags, change...), &stdout, &stderr); got != 64 {
			t.Error(change, got)
		}
	}
}
