// Command attest speaks the enclave protocol without being a launcher: it states whatever its flags say.
//
// Tests show with it that evidence of software mode can be forged by whoever reaches the port; benches count with it
// how many attestations a CAS answers.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"pulumi-scone/launcher/internal/enclave"
)

type options struct {
	address     string
	pins        []enclave.KeyHash
	claims      enclave.Claims
	count       int
	concurrency int
	timeout     time.Duration
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(arguments []string, stdout, stderr io.Writer) int {
	options, err := parse(arguments, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "attest:", err)
		return 64
	}
	if options.count == 1 {
		answer, err := attestOnce(options)
		if err != nil {
			fmt.Fprintln(stderr, "Attestation failed:", err)
			return 65
		}
		return print(stdout, answer)
	}
	return print(stdout, attestMany(options))
}

func parse(arguments []string, stderr io.Writer) (*options, error) {
	parsed := &options{claims: enclave.Claims{HostArguments: []string{}, HostEnvironment: map[string]string{}}}
	flags := flag.NewFlagSet("attest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&parsed.address, "cas", "127.0.0.1:18765", "`host:port` of the CAS's enclave port")
	flags.StringVar(&parsed.claims.ConfigID, "config-id", "", "`session/service` to ask for")
	flags.StringVar(&parsed.claims.Measurement, "measurement", "", "measurement to claim, 64 `hex` digits")
	flags.BoolVar(&parsed.claims.Debug, "debug", true, "claim to be a debug enclave, as all software evidence must")
	flags.StringVar(&parsed.claims.Format, "format", enclave.Format, "evidence `format` to claim")
	flags.IntVar(&parsed.count, "n", 1, "`number` of attestations; more than one prints numbers instead of the answer")
	flags.IntVar(&parsed.concurrency, "c", 1, "`number` of attestations at a time, each on a connection of its own")
	flags.DurationVar(&parsed.timeout, "timeout", 30*time.Second, "limit of one attestation")
	flags.Func("key", "key `hash` that the CAS must have", func(text string) error {
		pin, err := enclave.ParseKeyHash(text)
		parsed.pins = append(parsed.pins, pin)
		return err
	})
	flags.Func("argument", "host `argument` to claim (repeatable)", func(text string) error {
		parsed.claims.HostArguments = append(parsed.claims.HostArguments, text)
		return nil
	})
	flags.Func("env", "host variable to claim, `NAME=value` (repeatable)", func(text string) error {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return fmt.Errorf("not NAME=value")
		}
		parsed.claims.HostEnvironment[name] = value
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 || parsed.count < 1 || parsed.concurrency < 1 {
		return nil, fmt.Errorf("see -help")
	}
	return parsed, nil
}

func attestOnce(options *options) (*enclave.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), options.timeout)
	defer cancel()
	client := enclave.NewClient(options.address, options.pins)
	defer client.Close()
	return client.Attest(ctx, options.claims)
}

// summary is what a run of many attestations prints.
type summary struct {
	Count       int            `json:"count"`
	Succeeded   int            `json:"succeeded"`
	Concurrency int            `json:"concurrency"`
	Seconds     float64        `json:"seconds"`
	PerSecond   float64        `json:"per_second"`
	Median      float64        `json:"median_seconds"`
	Slowest     float64        `json:"p99_seconds"`
	Errors      map[string]int `json:"errors"`
}

func attestMany(options *options) summary {
	result := summary{Count: options.count, Concurrency: options.concurrency, Errors: map[string]int{}}
	durations := make([]float64, 0, options.count)
	jobs := make(chan struct{})
	var lock sync.Mutex
	var workers sync.WaitGroup
	begin := time.Now()
	for range options.concurrency {
		workers.Go(func() {
			for range jobs {
				started := time.Now()
				_, err := attestOnce(options)
				lock.Lock()
				durations = append(durations, time.Since(started).Seconds())
				if err != nil {
					result.Errors[err.Error()]++
				} else {
					result.Succeeded++
				}
				lock.Unlock()
			}
		})
	}
	for range options.count {
		jobs <- struct{}{}
	}
	close(jobs)
	workers.Wait()
	result.Seconds = time.Since(begin).Seconds()
	result.PerSecond = float64(options.count) / result.Seconds
	sort.Float64s(durations)
	result.Median = durations[len(durations)/2]
	result.Slowest = durations[len(durations)*99/100]
	return result
}

func print(to io.Writer, value any) int {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return 70
	}
	return 0
}
