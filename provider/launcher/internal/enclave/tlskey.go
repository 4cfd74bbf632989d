package enclave

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"time"
)

// tlsOf begins the URI in the certificate of a TLS key that an identity in a key store vouches for; its SubjectPublicKeyInfo
// follows in base64url (docs/cas-attestation.md).
const (
	tlsOf          = "pulumi-scone:tls-of:"
	longestTLSName = len(tlsOf) + 256
)

// CASKey returns the key hash of the CAS behind the certificate that a peer has proven to hold: of its own key, or of the
// identity that vouches for it. It fails where that identity does not, or not at this time.
func CASKey(certificate *x509.Certificate, now time.Time) (KeyHash, error) {
	var names []string
	for _, uri := range certificate.URIs {
		if name := uri.String(); strings.HasPrefix(name, tlsOf) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return HashKey(certificate.RawSubjectPublicKeyInfo), nil
	}
	if len(names) > 1 {
		return KeyHash{}, errors.New("the CAS's certificate names several identities")
	}
	identity, spki, err := identityKey(names[0])
	if err != nil {
		return KeyHash{}, err
	}
	digest := sha256.Sum256(certificate.RawTBSCertificate)
	if certificate.SignatureAlgorithm != x509.ECDSAWithSHA256 || !ecdsa.VerifyASN1(identity, digest[:], certificate.Signature) {
		return KeyHash{}, errors.New("the CAS's certificate names an identity that did not sign it")
	}
	if !certificate.BasicConstraintsValid || certificate.IsCA {
		return KeyHash{}, errors.New("the CAS's certificate is one of a CA, which no TLS key is")
	}
	if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return KeyHash{}, errors.New("the CAS's certificate is not valid at this time: its identity vouches for it no longer, or not yet")
	}
	return HashKey(spki), nil
}

func identityKey(name string) (*ecdsa.PublicKey, []byte, error) {
	fault := errors.New("the CAS's certificate names an identity that is no P-256 key")
	if len(name) > longestTLSName {
		return nil, nil, fault
	}
	spki, err := base64.RawURLEncoding.Strict().DecodeString(name[len(tlsOf):])
	if err != nil {
		return nil, nil, fault
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, nil, fault
	}
	key, isECDSA := parsed.(*ecdsa.PublicKey)
	if !isECDSA || key.Curve != elliptic.P256() {
		return nil, nil, fault
	}
	// One spelling only: what is hashed is what any other implementation would hash.
	again, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || string(again) != string(spki) {
		return nil, nil, fault
	}
	return key, spki, nil
}
