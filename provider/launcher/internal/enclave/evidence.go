package enclave

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/json"
	"errors"
)

// Format is the evidence format of software mode.
const Format = "scone-simulated-1"

const (
	evidenceDomain = "pulumi-scone evidence v1\x00"
	answerDomain   = "pulumi-scone answer v1\x00"
	challengeSize  = 32
)

// Claims are what evidence states about the program that wants to start.
type Claims struct {
	ConfigID        string            // <session>/<service>
	Measurement     string            // 64 hexadecimal digits
	HostArguments   []string          // what the host passed, for @@1
	HostEnvironment map[string]string // the host's variables, for @@NAME
	Debug           bool              // true in every honest use: software evidence counts as a debug enclave
	Format          string            // Format, except where a test asks for a refusal
}

// Keys are made for one attestation and forgotten with it.
type Keys struct {
	Quoting   ed25519.PrivateKey // signs the evidence
	Recipient hpke.PrivateKey    // opens the answer
}

// NewKeys makes the keys of one attestation.
func NewKeys() (Keys, error) {
	_, quoting, err := ed25519.GenerateKey(nil)
	if err != nil {
		return Keys{}, err
	}
	recipient, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
	if err != nil {
		return Keys{}, err
	}
	return Keys{Quoting: quoting, Recipient: recipient}, nil
}

type evidenceBody struct {
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

type attestRequest struct {
	Evidence struct {
		Body              []byte   `json:"body"`
		Signature         []byte   `json:"signature"`
		Countersignatures []string `json:"countersignatures"`
	} `json:"evidence"`
}

// Evidence returns the request body of an attestation, and the signed bytes in it that bind its answer.
func Evidence(claims Claims, challenge []byte, keys Keys) (request, body []byte, err error) {
	if len(challenge) != challengeSize {
		return nil, nil, errors.New("the challenge is not 32 bytes")
	}
	quotingKey, isEd25519 := keys.Quoting.Public().(ed25519.PublicKey)
	if !isEd25519 {
		return nil, nil, errors.New("the quoting key is not Ed25519")
	}
	stated := evidenceBody{
		Format:          claims.Format,
		Debug:           claims.Debug,
		Challenge:       challenge,
		ConfigID:        claims.ConfigID,
		Measurement:     claims.Measurement,
		PublicKey:       keys.Recipient.PublicKey().Bytes(),
		QuotingKey:      quotingKey,
		HostArguments:   claims.HostArguments,
		HostEnvironment: claims.HostEnvironment,
	}
	if stated.HostArguments == nil {
		stated.HostArguments = []string{}
	}
	if stated.HostEnvironment == nil {
		stated.HostEnvironment = map[string]string{}
	}
	if body, err = json.Marshal(stated); err != nil {
		return nil, nil, err
	}
	var message attestRequest
	message.Evidence.Body = body
	message.Evidence.Signature = Sign(keys.Quoting, body)
	message.Evidence.Countersignatures = []string{}
	request, err = json.Marshal(message)
	return request, body, err
}

// Sign returns the signature over the evidence's body.
func Sign(quoting ed25519.PrivateKey, body []byte) []byte {
	return ed25519.Sign(quoting, append([]byte(evidenceDomain), body...))
}

// Open returns the plaintext of an answer that was sealed for the evidence with this body.
func Open(sealed, body []byte, recipient hpke.PrivateKey) ([]byte, error) {
	plaintext, err := hpke.Open(recipient, hpke.HKDFSHA256(), hpke.AES256GCM(), answerInfo(body), sealed)
	if err != nil {
		return nil, errors.New("the answer was not sealed for this attestation")
	}
	return plaintext, nil
}

func answerInfo(body []byte) []byte {
	digest := sha256.Sum256(body)
	return append([]byte(answerDomain), digest[:]...)
}
