// Package strictjson reads JSON that two programs must understand alike: exact keys, each once, exact types, nothing after the value.
//
// encoding/json alone matches keys without regard to case, keeps the last of two equal keys, takes null for any type and
// replaces broken UTF-8: each of these would let a document mean one thing to its author and another to its reader.
// Errors name keys that the reader asked for, never content.
package strictjson

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Object returns the members of the JSON object in data, which must have every required key, may have the optional ones and no other.
func Object(data []byte, required, optional []string) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	members := make(map[string]json.RawMessage, len(required)+len(optional))
	err := Members(data, func(key string, value json.RawMessage) error {
		members[key] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	known := 0
	for _, key := range required {
		if _, present := members[key]; !present {
			return nil, fmt.Errorf("key %q is missing", key)
		}
		known++
	}
	for _, key := range optional {
		if _, present := members[key]; present {
			known++
		}
	}
	if known != len(members) {
		return nil, errors.New("unknown key")
	}
	return members, nil
}

// Members calls each for every member of the JSON object in data; a key that comes twice is an error.
func Members(data []byte, each func(key string, value json.RawMessage) error) error {
	seen := map[string]struct{}{}
	return container(data, '{', func(decoder *json.Decoder) error {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		key, isString := token.(string)
		if !isString {
			return errors.New("a key is not a string")
		}
		if _, twice := seen[key]; twice {
			return errors.New("a key comes twice")
		}
		seen[key] = struct{}{}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		return each(key, value)
	})
}

// Array returns the elements of the JSON array in data.
func Array(data []byte) ([]json.RawMessage, error) {
	var elements []json.RawMessage
	err := container(data, '[', func(decoder *json.Decoder) error {
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		elements = append(elements, value)
		return nil
	})
	return elements, err
}

func container(data []byte, open json.Delim, element func(*json.Decoder) error) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	token, err := decoder.Token()
	if err != nil || token != open {
		return fmt.Errorf("not a JSON value that begins with %s", open)
	}
	for decoder.More() {
		if err := element(decoder); err != nil {
			return plain(err)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return plain(err)
	}
	if len(bytes.TrimLeft(data[decoder.InputOffset():], " \t\r\n")) != 0 {
		return errors.New("text after the JSON value")
	}
	return nil
}

// plain keeps a piece of a broken document (which may be secret) out of the error.
func plain(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("broken JSON at byte %d", syntax.Offset)
	}
	return err
}

// IsNull tells whether the value is the JSON null.
func IsNull(data json.RawMessage) bool { return string(data) == "null" }

// String returns the JSON string in data.
func String(data json.RawMessage) (string, error) {
	if len(data) == 0 || data[0] != '"' {
		return "", errors.New("not a string")
	}
	var value string
	if err := json.Unmarshal(data, &value); err != nil {
		return "", errors.New("not a string")
	}
	return value, nil
}

// Int returns the JSON integer in data when it lies between low and high.
func Int(data json.RawMessage, low, high int64) (int64, error) {
	value, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil || value < low || value > high {
		return 0, fmt.Errorf("not an integer from %d to %d", low, high)
	}
	return value, nil
}

// Strings returns the JSON array of strings in data.
func Strings(data json.RawMessage) ([]string, error) {
	elements, err := Array(data)
	if err != nil {
		return nil, err
	}
	values := make([]string, len(elements))
	for index, element := range elements {
		if values[index], err = String(element); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// StringMap returns the JSON object in data, all of whose values are strings.
func StringMap(data json.RawMessage) (map[string]string, error) {
	values := map[string]string{}
	err := Members(data, func(key string, value json.RawMessage) error {
		text, err := String(value)
		values[key] = text
		return err
	})
	return values, err
}

// Bytes returns the bytes of the JSON string in data, which holds standard base64 with padding.
func Bytes(data json.RawMessage) ([]byte, error) {
	text, err := String(data)
	if err != nil {
		return nil, err
	}
	value, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(value) != text {
		return nil, errors.New("not standard base64")
	}
	return value, nil
}

// Hex returns the size bytes of the JSON string in data, which holds them as lower-case hexadecimal digits.
func Hex(data json.RawMessage, size int) ([]byte, error) {
	text, err := String(data)
	if err != nil {
		return nil, err
	}
	value, err := hex.DecodeString(text)
	if err != nil || len(value) != size || hex.EncodeToString(value) != text {
		return nil, fmt.Errorf("not %d lower-case hexadecimal digits", 2*size)
	}
	return value, nil
}
