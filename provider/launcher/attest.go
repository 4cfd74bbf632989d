package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"pulumi-scone/launcher/internal/enclave"
)

type answer = enclave.Answer

const (
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// attest runs the exchange until CAS answers or the time is up. Each try is a whole exchange: a challenge counts once.
func attest(ctx context.Context, settings *settings, image *image, host host, log *logger) (*answer, error) {
	var pins []enclave.KeyHash
	for _, pin := range []*enclave.KeyHash{image.configuration.pin, settings.pin} {
		if pin != nil {
			pins = append(pins, *pin)
		}
	}
	if len(pins) == 0 {
		log.info("neither the image nor SCONE_CAS_KEY pins the CAS's key: any CAS may answer")
	}
	claims := enclave.Claims{
		ConfigID:        settings.configID,
		Measurement:     image.measurement,
		HostArguments:   host.arguments,
		HostEnvironment: host.environment,
		Debug:           true,
		Format:          enclave.Format,
	}
	ctx, cancel := context.WithTimeout(ctx, settings.timeout)
	defer cancel()
	pause := firstPause
	for {
		client := enclave.NewClient(settings.address, pins)
		answered, err := client.Attest(ctx, claims)
		client.Close()
		if err == nil {
			return answered, nil
		}
		wait, again := retry(err, pause)
		if again {
			log.debug("%s: %s, again in %s", settings.address, networkReason(err), wait)
			again = sleep(ctx, wait)
		}
		if !again {
			return nil, attestationRefusal(err, settings)
		}
		pause = min(2*pause, longestPause)
	}
}

// retry tells whether the same question may get another answer, and when to ask it.
func retry(err error, pause time.Duration) (time.Duration, bool) {
	var busy *enclave.BusyError
	if errors.As(err, &busy) {
		return max(pause, busy.RetryAfter), true
	}
	return pause, !isFinal(err)
}

func isFinal(err error) bool {
	for _, final := range []any{new(*enclave.Refusal), new(*enclave.WrongKeyError), new(*enclave.ProtocolError), new(*enclave.TooLargeError)} {
		if errors.As(err, final) {
			return true
		}
	}
	return false
}

// sleep waits unless the deadline comes first; then it does not wait at all, because nothing could come of it.
func sleep(ctx context.Context, wait time.Duration) bool {
	if deadline, limited := ctx.Deadline(); limited && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func attestationRefusal(err error, settings *settings) error {
	var refused *enclave.Refusal
	var tooLarge *enclave.TooLargeError
	switch {
	case errors.As(err, &refused):
		return &refusal{exitAttestation, refused.Error()}
	case errors.As(err, &tooLarge):
		return misconfigured("%s; in Kubernetes enableServiceLinks: false keeps other services' variables out", tooLarge)
	case isFinal(err):
		return &refusal{exitUnreachable, settings.address + ": " + networkReason(err)}
	default:
		return &refusal{exitUnreachable, fmt.Sprintf("%s: %s (tried for %s)", settings.address, networkReason(err), settings.timeout)}
	}
}

// networkReason is the part of a network error that a person can act on.
func networkReason(err error) string {
	var wrongKey *enclave.WrongKeyError
	var lookup *net.DNSError
	var number syscall.Errno
	var network net.Error
	switch {
	case errors.As(err, &wrongKey):
		return wrongKey.Error()
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return "no such host"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	case errors.As(err, &number):
		return number.Error()
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
