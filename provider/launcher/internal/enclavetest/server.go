// Package enclavetest is a CAS for the launcher's tests: the real protocol over real TLS on loopback, for one service.
// It judges evidence as docs/enclave-protocol.md demands and shares no code with the client that it tests.
package enclavetest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// Body is the stated part of evidence.
type Body struct {
	Format          string            `json:"format"`
	Debug           bool              `json:"debug"`
	Challenge       []byte            `json:"challenge"`
	ConfigID        string            `json:"config_id"`
	Measurement     string            `json:"measurement"`
	PublicKey       []byte            `json:"public_key"`
	QuotingKey      []byte            `json:"quoting_key"`
	HostArguments   []string          `json:"host_arguments"`
	HostEnvironment map[string]string `json:"host_environment"`
}

// Policy is what the one service gets, and who gets it.
type Policy struct {
	ConfigID     string
	Measurements []string         // accepted ones
	Answer       map[string]any   // what is sealed for accepted evidence
	Busy         int              // so many requests are answered 503 first
	Override     http.HandlerFunc // answers everything instead
}

// Server is one CAS.
type Server struct {
	Policy

	server     *httptest.Server
	lock       sync.Mutex
	challenges map[string]bool
	seen       []Body
}

// Start serves until Close.
func Start() *Server {
	server := &Server{challenges: map[string]bool{}}
	server.server = httptest.NewUnstartedServer(server)
	server.server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what some tests are about
	server.server.StartTLS()
	return server
}

// Set replaces the policy while requests may come.
func (server *Server) Set(policy Policy) {
	server.lock.Lock()
	defer server.lock.Unlock()
	server.Policy = policy
}

// Close stops serving.
func (server *Server) Close() { server.server.Close() }

// Address is host:port on loopback.
func (server *Server) Address() string { return strings.TrimPrefix(server.server.URL, "https://") }

// KeyDigest is the SHA-256 of the certificate's SubjectPublicKeyInfo.
func (server *Server) KeyDigest() [sha256.Size]byte {
	return sha256.Sum256(server.server.Certificate().RawSubjectPublicKeyInfo)
}

// Seen returns the evidence that was accepted so far.
func (server *Server) Seen() []Body {
	server.lock.Lock()
	defer server.lock.Unlock()
	return slices.Clone(server.seen)
}

// ServeHTTP answers both routes of the protocol.
func (server *Server) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	server.lock.Lock()
	defer server.lock.Unlock()
	if server.Override != nil {
		server.Override(writer, request)
		return
	}
	if server.Busy > 0 {
		server.Busy--
		writer.Header().Set("Retry-After", "0")
		refuse(writer, http.StatusServiceUnavailable, map[string]any{"code": "busy", "message": "too many requests"})
		return
	}
	content, err := io.ReadAll(io.LimitReader(request.Body, 64<<10+1))
	if err != nil || len(content) > 64<<10 || request.Method != http.MethodPost || request.Header.Get("Content-Type") != "application/json" {
		malformed(writer)
		return
	}
	switch request.URL.Path {
	case "/v1/enclave/challenge":
		server.challenge(writer, content)
	case "/v1/enclave/attest":
		server.attest(writer, content)
	default:
		malformed(writer)
	}
}

func (server *Server) challenge(writer http.ResponseWriter, content []byte) {
	var asked struct {
		Protocol int `json:"protocol"`
	}
	if !read(content, &asked) || asked.Protocol != 1 {
		malformed(writer)
		return
	}
	challenge := make([]byte, 32)
	_, _ = rand.Read(challenge)
	server.challenges[string(challenge)] = true
	reply(writer, http.StatusOK, map[string]any{"protocol": 1, "challenge": challenge, "expires_in": 60})
}

func (server *Server) attest(writer http.ResponseWriter, content []byte) {
	var asked struct {
		Evidence struct {
			Body              []byte            `json:"body"`
			Signature         []byte            `json:"signature"`
			Countersignatures []json.RawMessage `json:"countersignatures"`
		} `json:"evidence"`
	}
	var body Body
	if !read(content, &asked) || !read(asked.Evidence.Body, &body) || len(body.QuotingKey) != ed25519.PublicKeySize {
		malformed(writer)
		return
	}
	known := server.challenges[string(body.Challenge)]
	delete(server.challenges, string(body.Challenge))
	signed := append([]byte("pulumi-scone evidence v1\x00"), asked.Evidence.Body...)
	forbidden := func(code, message string) {
		refuse(writer, http.StatusForbidden, map[string]any{"code": code, "message": message})
	}
	switch {
	case !known:
		forbidden("bad_challenge", "unknown challenge")
	case !ed25519.Verify(body.QuotingKey, signed, asked.Evidence.Signature):
		forbidden("bad_signature", "the signature does not verify")
	case body.Format != "scone-simulated-1" || len(asked.Evidence.Countersignatures) != 0:
		forbidden("unsupported_evidence", "this evidence is not judged here")
	case body.ConfigID != server.ConfigID:
		forbidden("unknown_service", "no such service")
	case !slices.Contains(server.Measurements, body.Measurement):
		refuse(writer, http.StatusForbidden, map[string]any{
			"code": "unexpected_measurement", "message": "unexpected measurement",
			"expected": server.Measurements, "found": body.Measurement,
		})
	default:
		server.seen = append(server.seen, body)
		reply(writer, http.StatusOK, map[string]any{"sealed": Seal(server.Answer, asked.Evidence.Body, body.PublicKey)})
	}
}

// Seal seals an answer for the evidence with this body.
func Seal(answer any, body, publicKey []byte) []byte {
	plaintext, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	recipient, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(publicKey)
	if err != nil {
		panic(err)
	}
	digest := sha256.Sum256(body)
	info := append([]byte("pulumi-scone answer v1\x00"), digest[:]...)
	sealed, err := hpke.Seal(recipient, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plaintext)
	if err != nil {
		panic(err)
	}
	return sealed
}

func read(content []byte, into any) bool {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into) == nil
}

func malformed(writer http.ResponseWriter) {
	refuse(writer, http.StatusBadRequest, map[string]any{"code": "malformed", "message": "not this protocol"})
}

func refuse(writer http.ResponseWriter, status int, refusal map[string]any) {
	reply(writer, status, map[string]any{"error": refusal})
}

func reply(writer http.ResponseWriter, status int, value any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	_ = json.NewEncoder(writer).Encode(value)
}
