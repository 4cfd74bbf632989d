// Package enclave is the client's side of docs/enclave-protocol.md: challenge, evidence, opened answer.
package enclave

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"pulumi-scone/launcher/internal/strictjson"
)

const (
	protocolVersion = 1
	requestLimit    = 64 << 10
	answerLimit     = 16 << 20
	headerLimit     = 64 << 10
	dialTimeout     = 10 * time.Second
	tlsTimeout      = 10 * time.Second
	headerTimeout   = 15 * time.Second
)

// WrongKeyError says that the CAS at the address is not the pinned one. Nothing was sent to it.
type WrongKeyError struct{ Expected, Found KeyHash }

func (err *WrongKeyError) Error() string {
	return fmt.Sprintf("wrong CAS key: expected %s, found %s", err.Expected, err.Found)
}

// BusyError is a 429 or 503: the CAS asks to come again.
type BusyError struct{ RetryAfter time.Duration }

func (err *BusyError) Error() string { return "the CAS is busy" }

// ProtocolError says that what answered does not speak this protocol.
type ProtocolError struct{ What string }

func (err *ProtocolError) Error() string { return err.What }

// TooLargeError says that the host's arguments and environment do not fit into a request.
type TooLargeError struct{ Size int }

func (err *TooLargeError) Error() string {
	return fmt.Sprintf("arguments and environment of the container make a request of %d bytes, at most %d are sent", err.Size, requestLimit)
}

// Client attests at one CAS. It keeps its connection between requests until Close.
type Client struct {
	address   string
	transport *http.Transport
	http      *http.Client
}

// NewClient returns a client of the CAS at host:port, which must have every one of the pinned keys; without pins any key is accepted.
func NewClient(address string, pins []KeyHash) *Client {
	transport := &http.Transport{
		// The host's HTTP_PROXY must not choose who sees the exchange.
		Proxy:       nil,
		DialContext: (&net.Dialer{Timeout: dialTimeout, Resolver: &net.Resolver{PreferGo: true}}).DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			// CAS certificates name no host and no CA signs them, so chain and name say nothing; the key is what is
			// verified, below and on every connection, and TLS 1.3 proves that the peer holds it.
			InsecureSkipVerify:     true,
			SessionTicketsDisabled: true,
			VerifyConnection:       func(state tls.ConnectionState) error { return verifyPins(state.PeerCertificates, pins) },
		},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: headerLimit,
		DisableCompression:     true,
		MaxConnsPerHost:        1,
	}
	return &Client{address: address, transport: transport, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends the client's connection.
func (client *Client) Close() { client.transport.CloseIdleConnections() }

// Attest runs the exchange once, with keys of its own, and returns the opened answer.
// Errors: *Refusal, *WrongKeyError, *BusyError, *ProtocolError, *TooLargeError, else the network's.
func (client *Client) Attest(ctx context.Context, claims Claims) (*Answer, error) {
	keys, err := NewKeys()
	if err != nil {
		return nil, err
	}
	challenge, err := client.challenge(ctx)
	if err != nil {
		return nil, err
	}
	request, body, err := Evidence(claims, challenge, keys)
	if err != nil {
		return nil, err
	}
	if len(request) > requestLimit {
		return nil, &TooLargeError{Size: len(request)}
	}
	response, err := client.post(ctx, "/v1/enclave/attest", request)
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(response, []string{"sealed"}, nil)
	if err != nil {
		return nil, &ProtocolError{What: "the answer to the evidence is malformed: " + err.Error()}
	}
	sealed, err := strictjson.Bytes(members["sealed"])
	if err != nil {
		return nil, &ProtocolError{What: "the answer to the evidence is malformed: sealed: " + err.Error()}
	}
	plaintext, err := Open(sealed, body, keys.Recipient)
	if err != nil {
		return nil, &ProtocolError{What: err.Error()}
	}
	defer clear(plaintext)
	answer, err := ParseAnswer(plaintext, claims.ConfigID)
	if err != nil {
		return nil, &ProtocolError{What: "the opened answer is malformed: " + err.Error()}
	}
	return answer, nil
}

func (client *Client) challenge(ctx context.Context) ([]byte, error) {
	response, err := client.post(ctx, "/v1/enclave/challenge", []byte(`{"protocol":1}`))
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(response, []string{"protocol", "challenge", "expires_in"}, nil)
	if err != nil {
		return nil, &ProtocolError{What: "the challenge is malformed: " + err.Error()}
	}
	if _, err := strictjson.Int(members["protocol"], protocolVersion, protocolVersion); err != nil {
		return nil, &ProtocolError{What: "the CAS speaks another protocol version"}
	}
	challenge, err := strictjson.Bytes(members["challenge"])
	if err != nil || len(challenge) != challengeSize {
		return nil, &ProtocolError{What: "the challenge is malformed: not 32 bytes"}
	}
	return challenge, nil
}

func (client *Client) post(ctx context.Context, route string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+client.address+route, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "pulumi-scone-launcher/1")
	response, err := client.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	if err != nil {
		return nil, err
	}
	if len(content) > answerLimit {
		return nil, &ProtocolError{What: "the answer is larger than 16 MiB"}
	}
	switch response.StatusCode {
	case http.StatusOK:
		return content, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return nil, &BusyError{RetryAfter: retryAfter(response.Header.Get("Retry-After"))}
	default:
		return nil, parseRefusal(response.StatusCode, content)
	}
}

func retryAfter(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 0 || seconds > 3600 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func verifyPins(certificates []*x509.Certificate, pins []KeyHash) error {
	if len(certificates) == 0 {
		return errors.New("the CAS presented no certificate")
	}
	if len(pins) == 0 {
		return nil
	}
	found, err := CASKey(certificates[0], time.Now())
	if err != nil {
		return &ProtocolError{What: err.Error()}
	}
	for _, pin := range pins {
		if !pin.Equal(found) {
			return &WrongKeyError{Expected: pin, Found: found}
		}
	}
	return nil
}

// Refusal is a CAS's reasoned no.
type Refusal struct {
	Status   int
	Code     string
	Message  string
	Expected []string // empty unless the refusal compares
	Found    string
}

func parseRefusal(status int, content []byte) error {
	unreadable := &ProtocolError{What: fmt.Sprintf("answered with status %d, but not as a CAS does", status)}
	outer, err := strictjson.Object(content, []string{"error"}, nil)
	if err != nil {
		return unreadable
	}
	members, err := strictjson.Object(outer["error"], []string{"code", "message"}, []string{"expected", "found"})
	if err != nil {
		return unreadable
	}
	refusal := &Refusal{Status: status}
	refusal.Code, err = strictjson.String(members["code"])
	for key, into := range map[string]func(json.RawMessage) error{
		"message":  func(value json.RawMessage) (err error) { refusal.Message, err = strictjson.String(value); return err },
		"expected": func(value json.RawMessage) (err error) { refusal.Expected, err = strictjson.Strings(value); return err },
		"found":    func(value json.RawMessage) (err error) { refusal.Found, err = strictjson.String(value); return err },
	} {
		if value, present := members[key]; present && err == nil {
			err = into(value)
		}
	}
	if err != nil {
		return unreadable
	}
	return refusal
}

// Error returns the message, with expected and found where the refusal compares.
func (refusal *Refusal) Error() string {
	if len(refusal.Expected) == 0 || refusal.Found == "" {
		return refusal.Message
	}
	text := refusal.Message + ": expected "
	for index, expected := range refusal.Expected {
		if index > 0 {
			text += " or "
		}
		text += expected
	}
	return text + ", found " + refusal.Found
}
