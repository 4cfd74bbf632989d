package enclave

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"math/big"
)

// KeyHash is the SHA-256 of a certificate's SubjectPublicKeyInfo, written in Base58Check with version byte 1
// (session language, access_policy).
type KeyHash [sha256.Size]byte

const (
	base58          = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	keyHashVersion  = 0x01
	checksumSize    = 4
	longestKeyHash  = 64
	keyHashByteSize = 1 + sha256.Size + checksumSize
)

var errKeyHash = errors.New("not a certificate key hash (Base58Check, version byte 1, 32 bytes)")

// HashKey returns the key hash of a DER-encoded SubjectPublicKeyInfo.
func HashKey(subjectPublicKeyInfo []byte) KeyHash { return sha256.Sum256(subjectPublicKeyInfo) }

// ParseKeyHash reads the Base58Check form of a key hash.
func ParseKeyHash(text string) (KeyHash, error) {
	var hash KeyHash
	if text == "" || len(text) > longestKeyHash {
		return hash, errKeyHash
	}
	number, base := new(big.Int), big.NewInt(int64(len(base58)))
	for _, letter := range []byte(text) {
		digit := indexBase58(letter)
		if digit < 0 {
			return hash, errKeyHash
		}
		number.Add(number.Mul(number, base), big.NewInt(int64(digit)))
	}
	if number.BitLen() > 8*keyHashByteSize {
		return hash, errKeyHash
	}
	payload := number.FillBytes(make([]byte, keyHashByteSize))
	copy(hash[:], payload[1:])
	// Writing it again settles version, checksum and superfluous leading digits at once.
	if subtle.ConstantTimeCompare([]byte(hash.String()), []byte(text)) != 1 {
		return KeyHash{}, errKeyHash
	}
	return hash, nil
}

// String returns the Base58Check form.
func (hash KeyHash) String() string {
	payload := append([]byte{keyHashVersion}, hash[:]...)
	first := sha256.Sum256(payload)
	second := sha256.Sum256(first[:])
	number := new(big.Int).SetBytes(append(payload, second[:checksumSize]...))
	var reversed []byte
	for base, digit := big.NewInt(int64(len(base58))), new(big.Int); number.Sign() > 0; {
		number.DivMod(number, base, digit)
		reversed = append(reversed, base58[digit.Int64()])
	}
	for left, right := 0, len(reversed)-1; left < right; left, right = left+1, right-1 {
		reversed[left], reversed[right] = reversed[right], reversed[left]
	}
	return string(reversed)
}

// Equal compares in constant time.
func (hash KeyHash) Equal(other KeyHash) bool {
	return subtle.ConstantTimeCompare(hash[:], other[:]) == 1
}

func indexBase58(letter byte) int {
	for index := range base58 {
		if base58[index] == letter {
			return index
		}
	}
	return -1
}
