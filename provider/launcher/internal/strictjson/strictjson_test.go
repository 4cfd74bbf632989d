package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestObject proves that an object has exactly the keys that were asked for, each once, and nothing around it.
func TestObject(t *testing.T) {
	for text, accepted := range map[string]bool{
		`{"a":1}`: true, ` {"a" : 1, "b":[{}]} ` + "\n": true,
		`{"b":1}`: false, `{"A":1}`: false, `{"a":1,"c":1}`: false, `{"a":1,"a":1}`: false, `{"a":1,"\u0061":1}`: false,
		`{"a":1}{}`: false, `{"a":1} x`: false, `{"a":1`: false, `{"a":}`: false, `{"a":1,}`: false, `["a"]`: false, `null`: false, ``: false,
		"{\"a\":\"\xff\"}": false,
	} {
		if _, err := Object([]byte(text), []string{"a"}, []string{"b"}); (err == nil) != accepted {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestErrorsTellNothing proves that a broken document does not show up in the error.
func TestErrorsTellNothing(t *testing.T) {
	for _, text := range []string{`{"a":SECRET}`, `{"SECRET":1}`, `{"a":1,"SECRET":}`, `{"a":"SECRET`, `SECRET`} {
		_, err := Object([]byte(text), []string{"a"}, nil)
		if err == nil || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "'S'") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTypes proves that no value is taken for one of another type, null least of all.
func TestTypes(t *testing.T) {
	readers := map[string]func(json.RawMessage) error{
		"string":  func(value json.RawMessage) error { _, err := String(value); return err },
		"integer": func(value json.RawMessage) error { _, err := Int(value, -1, 10); return err },
		"strings": func(value json.RawMessage) error { _, err := Strings(value); return err },
		"map":     func(value json.RawMessage) error { _, err := StringMap(value); return err },
		"bytes":   func(value json.RawMessage) error { _, err := Bytes(value); return err },
		"hex":     func(value json.RawMessage) error { _, err := Hex(value, 2); return err },
	}
	for text, accepting := range map[string]string{
		`null`: "", `true`: "", `1.0`: "", `1e1`: "", `11`: "", `-2`: "", `"`: "", ``: "", `[1]`: "", `[null]`: "", `{"a":null}`: "", `{"a":1}`: "",
		`-1`: "integer", `10`: "integer", `[]`: "strings", `["a","a"]`: "strings", `{}`: "map", `{"a":"b"}`: "map",
		`"x"`: "string", `"AAE="`: "string bytes", `"AAE"`: "string", `"AAF="`: "string", `"AA\nE="`: "string", `""`: "string bytes",
		`"00ff"`: "string hex bytes", `"00FF"`: "string bytes", `"00f"`: "string", `"00ff00"`: "string",
	} {
		for name, reader := range readers {
			if err := reader(json.RawMessage(text)); (err == nil) != strings.Contains(" "+accepting+" ", " "+name+" ") {
				t.Errorf("%s as %s: %v", text, name, err)
			}
		}
	}
}
