package enclave

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"pulumi-scone/launcher/internal/enclavetest"
)

type vectors struct {
	KeyHashes []struct {
		SPKI    []byte `json:"spki"`
		KeyHash string `json:"key_hash"`
	} `json:"key_hashes"`
	KeyHashOfZeros  string   `json:"key_hash_of_zeros"`
	BadKeyHashes    []string `json:"bad_key_hashes"`
	TLSCertificates []struct {
		What        string  `json:"what"`
		Certificate []byte  `json:"certificate"`
		At          int64   `json:"at"`
		KeyHash     *string `json:"key_hash"`
	} `json:"tls_certificates"`
	Evidence struct {
		QuotingPrivateKey string          `json:"quoting_private_key"`
		Challenge         []byte          `json:"challenge"`
		Body              []byte          `json:"body"`
		Signature         []byte          `json:"signature"`
		Request           json.RawMessage `json:"request"`
	} `json:"evidence"`
	Answer struct {
		RecipientPrivateKey string `json:"recipient_private_key"`
		Info                string `json:"info"`
		Sealed              []byte `json:"sealed"`
		Plaintext           string `json:"plaintext"`
	} `json:"answer"`
}

func load(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("../../../../tests/vectors/enclave.json")
	if err != nil {
		t.Fatal(err)
	}
	var read vectors
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func vectorKeys(t testing.TB, read vectors) Keys {
	t.Helper()
	seed, _ := hex.DecodeString(read.Evidence.QuotingPrivateKey)
	private, _ := hex.DecodeString(read.Answer.RecipientPrivateKey)
	recipient, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return Keys{Quoting: ed25519.NewKeyFromSeed(seed), Recipient: recipient}
}

// TestKeyHashes proves that key hashes are written and read as the vectors and a published sample say, and nothing else is read.
func TestKeyHashes(t *testing.T) {
	read := load(t)
	for _, vector := range read.KeyHashes {
		parsed, err := ParseKeyHash(vector.KeyHash)
		if hash := HashKey(vector.SPKI); hash.String() != vector.KeyHash || err != nil || !parsed.Equal(hash) {
			t.Errorf("%s: %s, %v", vector.KeyHash, hash, err)
		}
	}
	if zeros := (KeyHash{}).String(); zeros != read.KeyHashOfZeros {
		t.Error(zeros)
	}
	const published = "3s1pm8W6Be6cxvAQRbRP5YXd9YuERAr7KswN97uGtoPkRW87x1"
	if parsed, err := ParseKeyHash(published); err != nil || parsed.String() != published {
		t.Error("the published sample is refused")
	}
	for _, bad := range append(read.BadKeyHashes, published+"1", " "+published, strings.Repeat("z", 64), strings.Repeat("1", 65)) {
		if _, err := ParseKeyHash(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestTLSCertificates proves that a certificate stands for its own key, or for the identity that vouches for it, as the vectors
// say, and that a client pinned to an identity refuses whatever only claims to be vouched for.
func TestTLSCertificates(t *testing.T) {
	for _, vector := range load(t).TLSCertificates {
		certificate, err := x509.ParseCertificate(vector.Certificate)
		if err != nil {
			t.Fatal(vector.What, err)
		}
		found, err := CASKey(certificate, time.Unix(vector.At, 0))
		if vector.KeyHash == nil && err == nil || vector.KeyHash != nil && (err != nil || found.String() != *vector.KeyHash) {
			t.Errorf("%s: %s, %v", vector.What, found, err)
		}
		if vector.KeyHash == nil {
			var fault *ProtocolError
			if err := verifyPins([]*x509.Certificate{certificate}, []KeyHash{HashKey(nil)}); !errors.As(err, &fault) && vector.What != "over" && vector.What != "not yet" {
				t.Errorf("%s: %v", vector.What, err)
			}
		}
	}
}

// TestEvidenceVector proves that evidence of the same statements and keys carries the same signature as another implementation's.
func TestEvidenceVector(t *testing.T) {
	read := load(t)
	keys := vectorKeys(t, read)
	if !bytes.Equal(Sign(keys.Quoting, read.Evidence.Body), read.Evidence.Signature) {
		t.Error("another signature")
	}
	var stated evidenceBody
	if err := json.Unmarshal(read.Evidence.Body, &stated); err != nil {
		t.Fatal(err)
	}
	request, body, err := Evidence(Claims{
		ConfigID: stated.ConfigID, Measurement: stated.Measurement, HostArguments: stated.HostArguments,
		HostEnvironment: stated.HostEnvironment, Debug: true, Format: Format,
	}, read.Evidence.Challenge, keys)
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs, envelope, expected map[string]any
	for data, into := range map[*[]byte]*map[string]any{&body: &ours, &read.Evidence.Body: &theirs} {
		if err := json.Unmarshal(*data, into); err != nil {
			t.Fatal(err)
		}
	}
	for key := range theirs {
		if left, right := mustJSON(t, ours[key]), mustJSON(t, theirs[key]); left != right {
			t.Errorf("%s: %s instead of %s", key, left, right)
		}
	}
	if len(ours) != len(theirs) {
		t.Error("other keys")
	}
	_, _ = json.Unmarshal(request, &envelope), json.Unmarshal(read.Evidence.Request, &expected)
	envelope["evidence"].(map[string]any)["body"] = expected["evidence"].(map[string]any)["body"]
	envelope["evidence"].(map[string]any)["signature"] = expected["evidence"].(map[string]any)["signature"]
	if mustJSON(t, envelope) != mustJSON(t, expected) {
		t.Error("another envelope")
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestAnswerVector proves that an answer sealed by another implementation opens, for its own evidence and key only.
func TestAnswerVector(t *testing.T) {
	read := load(t)
	keys := vectorKeys(t, read)
	plaintext, err := Open(read.Answer.Sealed, read.Evidence.Body, keys.Recipient)
	if err != nil || string(plaintext) != read.Answer.Plaintext {
		t.Fatal("it does not open", err)
	}
	answer, err := ParseAnswer(plaintext, "hello/service-1/python_hello_user")
	if err != nil || answer.Environment["GREETING"] != "Grüße" || answer.Files[0].Mode != 0o700 || len(answer.Protection.Key) != 32 {
		t.Error(answer, err)
	}
	if _, err := Open(read.Answer.Sealed, append(read.Evidence.Body, ' '), keys.Recipient); err == nil {
		t.Error("it opens for other evidence")
	}
	others, err := NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(read.Answer.Sealed, read.Evidence.Body, others.Recipient); err == nil {
		t.Error("it opens with another key")
	}
	for size := range 40 {
		if _, err := Open(read.Answer.Sealed[:size], read.Evidence.Body, keys.Recipient); err == nil {
			t.Errorf("%d bytes of it open", size)
		}
	}
}

// TestAnswerRefusals proves that an answer with any liberty is refused, and that the error does not tell its content.
func TestAnswerRefusals(t *testing.T) {
	read := load(t)
	const id = "hello/service-1/python_hello_user"
	for _, change := range [][2]string{
		{`"protocol": 1`, `"protocol": 2`},
		{`"protocol": 1`, `"protocol": null`},
		{`"protocol": 1`, `"protocol": 1.0`},
		{`"protocol"`, `"Protocol"`},
		{`{"protocol": 1,`, `{"protocol": 1, "extra": 1,`},
		{`{"protocol": 1,`, `{"protocol": 1, "protocol": 1,`},
		{id, "hello/service-1/other"},
		{`["python3", "print_env.py"]`, `[""]`},
		{`["python3", "print_env.py"]`, `["python3", null]`},
		{`["python3", "print_env.py"]`, `["python3", "a\u0000b"]`},
		{`"API_USER"`, `"API=USER"`},
		{`"API_USER"`, `""`},
		{`"myself"`, `1`},
		{`"myself"`, `"a\u0000"`},
		{`"/python"`, `"python"`},
		{`"/python"`, `""`},
		{`"tag": "`, `"tag": "00`},
		{`"key": "`, `"key": "F`},
		{`"mode": 448`, `"mode": 4096`},
		{`"mode": 448`, `"mode": -1`},
		{`"/tls/client.crt"`, `"/tls/../client.crt"`},
		{`"/tls/client.crt"`, `"/"`},
		{`"content": "`, `"content": "\n`},
		{`"files": [`, `"files": [{"path": "/z", "content": "", "mode": 1}, `},
		{`"files": [`, `"files": [{"path": "/tls/client.crt", "content": "", "mode": 1}, `},
	} {
		changed := strings.Replace(read.Answer.Plaintext, change[0], change[1], 1)
		if changed == read.Answer.Plaintext {
			t.Fatalf("%q is not in the vector", change[0])
		}
		_, err := ParseAnswer([]byte(changed), id)
		if err == nil {
			t.Errorf("%q in the place of %q was accepted", change[1], change[0])
		} else if strings.Contains(err.Error(), "myself") || strings.Contains(err.Error(), "python3") {
			t.Errorf("the error tells the content: %s", err)
		}
	}
	for _, broken := range []string{"", "null", "[]", "{", read.Answer.Plaintext + "x", read.Answer.Plaintext[:100], "\xff" + read.Answer.Plaintext} {
		if _, err := ParseAnswer([]byte(broken), id); err == nil {
			t.Errorf("%.20q… was accepted", broken)
		}
	}
}

// FuzzAnswer looks for input on which reading an answer panics, or accepts what it would write differently.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(load(f).Answer.Plaintext))
	f.Add([]byte(`{"protocol":1,"config_id":"a/b","arguments":["x"],"environment":{},"working_directory":null,"protection":null,"files":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, id := range []string{"a/b", "hello/service-1/python_hello_user"} {
			answer, err := ParseAnswer(data, id)
			if err != nil {
				continue
			}
			if len(answer.Arguments) > 0 && answer.Arguments[0] == "" || answer.ConfigID != id || answer.WorkingDirectory[0] != '/' {
				t.Errorf("accepted: %q", data)
			}
			for _, file := range answer.Files {
				if !IsCleanPath(file.Path) || file.Mode > 0o7777 {
					t.Errorf("accepted: %q", data)
				}
			}
		}
	})
}

func service(t *testing.T) (*enclavetest.Server, Claims) {
	t.Helper()
	server := enclavetest.Start()
	t.Cleanup(server.Close)
	server.ConfigID, server.Measurements = "a/b", []string{strings.Repeat("ab", 32)}
	server.Answer = map[string]any{
		"protocol": 1, "config_id": "a/b", "arguments": []string{"x"}, "environment": map[string]string{},
		"working_directory": nil, "protection": nil, "files": []any{},
	}
	return server, Claims{ConfigID: "a/b", Measurement: strings.Repeat("ab", 32), Debug: true, Format: Format}
}

func attest(t *testing.T, address string, claims Claims, pins ...KeyHash) (*Answer, error) {
	t.Helper()
	client := NewClient(address, pins)
	defer client.Close()
	return client.Attest(context.Background(), claims)
}

// TestExchange proves the whole exchange over TLS, with the right pin and with none, and that a wrong pin ends it before a byte is sent.
func TestExchange(t *testing.T) {
	server, claims := service(t)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("ALL_PROXY", "http://127.0.0.1:1")
	for _, pins := range [][]KeyHash{nil, {server.KeyDigest()}, {server.KeyDigest(), server.KeyDigest()}} {
		if answer, err := attest(t, server.Address(), claims, pins...); err != nil || answer.WorkingDirectory != "/" {
			t.Errorf("%v: %v", pins, err)
		}
	}
	var wrong *WrongKeyError
	for _, pins := range [][]KeyHash{{HashKey(nil)}, {server.KeyDigest(), HashKey(nil)}} {
		server.Override = func(http.ResponseWriter, *http.Request) { t.Error("a request was sent to the wrong CAS") }
		if _, err := attest(t, server.Address(), claims, pins...); !errors.As(err, &wrong) || !wrong.Found.Equal(server.KeyDigest()) {
			t.Errorf("%v: %v", pins, err)
		}
	}
}

// TestRefusalTexts proves that a refusal is told as the CAS words it, with expected and found.
func TestRefusalTexts(t *testing.T) {
	server, claims := service(t)
	server.Measurements = append(server.Measurements, strings.Repeat("cd", 32))
	claims.Measurement = strings.Repeat("00", 32)
	var refusal *Refusal
	_, err := attest(t, server.Address(), claims)
	expected := "unexpected measurement: expected " + strings.Repeat("ab", 32) + " or " + strings.Repeat("cd", 32) + ", found " + strings.Repeat("00", 32)
	if !errors.As(err, &refusal) || refusal.Code != "unexpected_measurement" || err.Error() != expected {
		t.Error(err)
	}
	claims.Format = "scone-hardware-1"
	if _, err := attest(t, server.Address(), claims); !errors.As(err, &refusal) || refusal.Code != "unsupported_evidence" {
		t.Error(err)
	}
}

// TestTooLarge proves that a host environment which does not fit is refused before it is sent.
func TestTooLarge(t *testing.T) {
	server, claims := service(t)
	claims.HostEnvironment = map[string]string{"X": strings.Repeat("x", 50<<10)}
	var tooLarge *TooLargeError
	if _, err := attest(t, server.Address(), claims); !errors.As(err, &tooLarge) {
		t.Error(err)
	}
	claims.HostEnvironment = map[string]string{"X": strings.Repeat("x", 30<<10)}
	if _, err := attest(t, server.Address(), claims); err != nil {
		t.Error(err)
	}
}

// TestStrangeServers proves that whatever answers without being a CAS is called that.
func TestStrangeServers(t *testing.T) {
	var protocol *ProtocolError
	var busy *BusyError
	for name, test := range map[string]struct {
		status  int
		body    string
		matches func(error) bool
	}{
		"web page":          {200, "<html>", func(err error) bool { return errors.As(err, &protocol) }},
		"short challenge":   {200, `{"protocol":1,"challenge":"AAAA","expires_in":60}`, func(err error) bool { return errors.As(err, &protocol) }},
		"other protocol":    {200, `{"protocol":2,"challenge":"AAAA","expires_in":60}`, func(err error) bool { return errors.As(err, &protocol) }},
		"redirect":          {301, "", func(err error) bool { return errors.As(err, &protocol) }},
		"error page":        {500, "oops", func(err error) bool { return errors.As(err, &protocol) }},
		"unknown key":       {403, `{"error":{"code":"x","message":"y","z":1}}`, func(err error) bool { return errors.As(err, &protocol) }},
		"wrong type":        {403, `{"error":{"code":"x","message":null}}`, func(err error) bool { return errors.As(err, &protocol) }},
		"too large":         {200, strings.Repeat(" ", 16<<20+1), func(err error) bool { return errors.As(err, &protocol) }},
		"busy":              {429, "", func(err error) bool { return errors.As(err, &busy) && busy.RetryAfter.Seconds() == 7 }},
		"truthful internal": {500, `{"error":{"code":"internal","message":"our fault"}}`, func(err error) bool { return err.Error() == "our fault" }},
	} {
		t.Run(name, func(t *testing.T) {
			server, claims := service(t)
			server.Override = func(writer http.ResponseWriter, _ *http.Request) {
				writer.Header().Set("Location", "https://127.0.0.1:1/")
				writer.Header().Set("Retry-After", "7")
				writer.WriteHeader(test.status)
				_, _ = writer.Write([]byte(test.body))
			}
			if _, err := attest(t, server.Address(), claims); err == nil || !test.matches(err) {
				t.Error(err)
			}
		})
	}
}

// TestOldTLS proves that nothing below TLS 1.3 is spoken.
func TestOldTLS(t *testing.T) {
	_, claims := service(t)
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	old.StartTLS()
	defer old.Close()
	_, err := attest(t, strings.TrimPrefix(old.URL, "https://"), claims)
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Error(err)
	}
}
