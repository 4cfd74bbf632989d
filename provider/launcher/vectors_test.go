package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"pulumi-scone/launcher/internal/enclave"
)

type imageVectors struct {
	Keys      map[string]string `json:"keys"`
	Canonical []struct {
		Value json.RawMessage `json:"value"`
		Text  string          `json:"text"`
	} `json:"canonical"`
	Files []struct {
		Path       string `json:"path"`
		Mode       uint32 `json:"mode"`
		Plaintext  []byte `json:"plaintext"`
		Label      string `json:"label"`
		Sealed     []byte `json:"sealed"`
		BlobName   string `json:"blob_name"`
		BlobSHA256 string `json:"blob_sha256"`
	} `json:"files"`
	BaseJSON     string `json:"base_json"`
	BaseSHA256   string `json:"base_sha256"`
	LauncherJSON string `json:"launcher_json"`
	WithPin      string `json:"launcher_json_with_pin"`
	Injected     struct {
		Path, Name string
	} `json:"injected"`
	ServicePlaintext string `json:"service_plaintext"`
	ServiceSealed    []byte `json:"service_sealed"`
	Tag              string `json:"fspf_tag"`
	Key              string `json:"fspf_key"`
	Measurements     []struct {
		Inputs      map[string]string `json:"inputs"`
		Canonical   string            `json:"canonical"`
		Measurement string            `json:"measurement"`
	} `json:"measurements"`
}

func loadVectors(t testing.TB) imageVectors {
	t.Helper()
	data, err := os.ReadFile("../../tests/vectors/image.json")
	if err != nil {
		t.Fatal(err)
	}
	var read imageVectors
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestMeasurementVectors proves that the launcher measures as the builder predicts.
func TestMeasurementVectors(t *testing.T) {
	for _, vector := range loadVectors(t).Measurements {
		in := vector.Inputs
		text, err := measuredText(in["launcher"], in["program"], in["loader"], map[string]string{
			"SCONE_HEAP": in["heap"], "SCONE_STACK": in["stack"], "SCONE_ALLOW_DLOPEN": in["dlopen"],
		})
		if err != nil || text != vector.Canonical || hexDigest([]byte(text)) != vector.Measurement {
			t.Errorf("%v\n%s\n%s", err, text, vector.Canonical)
		}
	}
	unset, err := measuredText("a", "b", "", map[string]string{})
	if expected := `{"dlopen":"0","format":"pulumi-scone measurement v1","heap":"","launcher":"a","loader":"","program":"b","stack":""}`; err != nil || unset != expected {
		t.Errorf("%v %s", err, unset)
	}
	if _, err := measuredText("a", "b", "", map[string]string{"SCONE_HEAP": "\xff"}); err == nil {
		t.Error("a measured variable that is no text was accepted")
	}
}

// TestCanonicalStrings proves that strings are spelled as canonical JSON demands.
func TestCanonicalStrings(t *testing.T) {
	checked := 0
	for _, vector := range loadVectors(t).Canonical {
		var values map[string]any
		if json.Unmarshal(vector.Value, &values) != nil {
			continue
		}
		for key, value := range values {
			if !strings.Contains(vector.Text, canonicalString(key)+":") {
				t.Errorf("%q: %s", key, canonicalString(key))
			}
			if text, isString := value.(string); isString && !strings.Contains(vector.Text, ":"+canonicalString(text)) {
				t.Errorf("%q: %s", text, canonicalString(text))
			}
			checked++
		}
	}
	if checked < 6 {
		t.Error("the vectors were not understood")
	}
}

// TestProtectionVector proves that what another implementation sealed opens and means here what it meant there.
func TestProtectionVector(t *testing.T) {
	read := loadVectors(t)
	delivered := &enclave.Protection{Key: unhex(t, read.Key), Tag: unhex(t, read.Tag)}
	plaintext, err := openProtection(bytes.Clone(read.ServiceSealed), delivered)
	if err != nil || string(plaintext) != read.ServicePlaintext {
		t.Fatal(err)
	}
	parsed, err := parseService(plaintext)
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.addBase([]byte(read.BaseJSON)); err != nil || digestOf([]byte(read.BaseJSON)) != parsed.baseDigest {
		t.Fatal(err)
	}
	if parsed.configurationDigest != digestOf([]byte(read.LauncherJSON)) || parsed.injected[read.Injected.Path] != injectedName(read.Injected.Path) ||
		injectedName(read.Injected.Path) != read.Injected.Name {
		t.Error("configuration or injected file")
	}
	if got := parsed.entries["/etc/motd-ünï\u2028"]; got == nil || got.kind != 'f' || got.mode != 0o644 || got.size != 4 {
		t.Errorf("base entry: %v", got)
	}
	for _, file := range read.Files {
		entry := parsed.encrypted["/python"].entries[strings.TrimPrefix(file.Path, "/python/")]
		if entry == nil || entry.blob != file.BlobName || entry.blobDigest != digestOf(file.Sealed) || entry.mode != file.Mode ||
			fileLabel(file.Path, file.Mode) != string(unhex(t, file.Label)) {
			t.Errorf("%s: %v", file.Path, entry)
			continue
		}
		opened, err := unseal(bytes.Clone(file.Sealed), unhex(t, read.Keys["encryption"]), fileLabel(file.Path, entry.mode))
		if err != nil || !bytes.Equal(opened, file.Plaintext) || digestOf(opened) != entry.digest {
			t.Errorf("%s does not open: %v", file.Path, err)
		}
		if _, err := unseal(bytes.Clone(file.Sealed), unhex(t, read.Keys["encryption"]), fileLabel(file.Path, entry.mode^1)); err == nil {
			t.Errorf("%s opens with another mode", file.Path)
		}
	}
}

// TestConfigurationVectors proves that the image's configuration is read, pin included, and anything unclear refused.
func TestConfigurationVectors(t *testing.T) {
	read := loadVectors(t)
	plain, err := parseConfiguration([]byte(read.LauncherJSON))
	if err != nil || plain.program != "/usr/bin/python3.11" || plain.loader != "/lib64/ld-linux-x86-64.so.2" || plain.pin != nil {
		t.Error(plain, err)
	}
	pinned, err := parseConfiguration([]byte(read.WithPin))
	if err != nil || pinned.pin == nil || !strings.Contains(read.WithPin, pinned.pin.String()) || pinned.loader != "" {
		t.Error(pinned, err)
	}
	for _, bad := range []string{
		`{"version":2,"program":"/a","loader":""}`, `{"version":1,"program":"a","loader":""}`, `{"version":1,"program":"/a/../b","loader":""}`,
		`{"version":1,"program":"/a","loader":"b"}`, `{"version":1,"program":"/a"}`, `{"version":1,"program":"/a","loader":"","x":1}`,
		`{"version":1,"program":"/a","loader":"","cas_key":"abc"}`, `{"version":1,"program":"/a","loader":"","cas_key":null}`, ``,
		`{"version":1,"program":"/a","loader":"","pwd":"data"}`, `{"version":1,"program":"/a","loader":"","environment":["A=1"]}`,
		`{"version":1,"program":"/a","loader":"","environment":{"A=B":"1"}}`, `{"version":1,"program":"/a","loader":"","environment":{"":"1"}}`,
		`{"version":1,"program":"/a","loader":"","environment":{"A":"\u0000"}}`,
		`{"version":1,"program":"/a","loader":"","environment":{"SCONE_HEAP":"1G"}}`,
	} {
		if _, err := parseConfiguration([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// TestProtectionRefusals proves that a protection file which is ambiguous or contradicts itself is refused as a whole.
func TestProtectionRefusals(t *testing.T) {
	read := loadVectors(t)
	for _, change := range [][2]string{
		{`"version":1`, `"version":2`},
		{`"version":1`, `"version":1,"more":1`},
		{`"base":"`, `"base":"00`},
		{`"/tls":["d",493,0,""]`, `"/tls":["x",493,0,""]`},
		{`"/tls":["d",493,0,""]`, `"/tls":["d",4096,0,""]`},
		{`"/tls":["d",493,0,""]`, `"/tls":["d",493,1,""]`},
		{`"/tls":["d",493,0,""]`, `"/tls":["d",493,0,"x"]`},
		{`"/tls":["d",493,0,""]`, `"/tls":["d",493,0]`},
		{`"/tls":["d",493,0,""]`, `"/tls":["f",493,0,""]`},
		{`"/tls":["d",493,0,""]`, `"/tls":["l",493,0,"x"]`},
		{`"/tls":["d",493,0,""]`, `"/tls/":["d",493,0,""]`},
		{`"/tls":["d",493,0,""]`, `"/.scone":["d",493,0,""]`},
		{`"/tls":["d",493,0,""]`, `"/.scone/x":["d",493,0,""]`},
		{`"/tls":["d",493,0,""]`, `"/python":["d",493,0,""]`}, // twice
		{`/.scone/memory/files/`, `/.scone/memory/other/`},
		{`"bin":["d",493,0,""]`, `"lib":["d",493,0,""]`}, // bin/run is left without its directory
		{`"bin":["d",493,0,""]`, `"bin":["l",0,0,"/etc"]`},
		{`"bin":["d",493,0,""]`, `"../bin":["d",493,0,""]`},
		{`"bin":["d",493,0,""]`, `"bin":["o",493,0,""]`},
		{`"bin":["d",493,0,""]`, `"bin":["d",2541,0,""]`},
		{`{"/python":{`, `{"/":{`},
		{`{"/python":{`, `{"/.scone":{`},
		{`{"/python":{`, `{"/python/deeper":{"mode":493,"entries":{}},"/python":{`},
		{`"volumes":["/data"]`, `"volumes":["/"]`},
		{`"volumes":["/data"]`, `"volumes":["/.scone/memory"]`},
		{`"unprotected":["/var/log/app"]`, `"unprotected":["var/log"]`},
		{`"unprotected":["/var/log/app"]`, `"unprotected":null`},
	} {
		changed := strings.Replace(read.ServicePlaintext, change[0], change[1], 1)
		if changed == read.ServicePlaintext {
			t.Fatalf("%q is not in the vector", change[0])
		}
		if _, err := parseService([]byte(changed)); err == nil {
			t.Errorf("%q in the place of %q was accepted", change[1], change[0])
		}
	}
	fresh := func() *protection { return &protection{entries: map[string]*entry{}} }
	for _, bad := range []string{``, `{}`, `{"version":1,"entries":[]}`, `{"version":1,"entries":{"a":["d",1,0,""]}}`, read.BaseJSON + " x"} {
		if err := fresh().addBase([]byte(bad)); err == nil {
			t.Errorf("base %s was accepted", bad)
		}
	}
}

// FuzzProtection looks for input on which reading a protection panics, or lets a path through that is not clean.
func FuzzProtection(f *testing.F) {
	read := loadVectors(f)
	f.Add([]byte(read.ServicePlaintext))
	f.Add([]byte(read.BaseJSON))
	f.Fuzz(func(t *testing.T, data []byte) {
		base := &protection{entries: map[string]*entry{}}
		if base.addBase(data) != nil {
			base.entries = nil
		}
		parsed, err := parseService(data)
		if err != nil {
			parsed = &protection{}
		}
		for _, entries := range []map[string]*entry{base.entries, parsed.entries} {
			for name := range entries {
				if !enclave.IsCleanPath(name) || below(name, sconeDirectory) {
					t.Errorf("%q was accepted", name)
				}
			}
		}
		for directory, encrypted := range parsed.encrypted {
			for name := range encrypted.entries {
				if !enclave.IsCleanPath(directory+"/"+name) || below(directory, sconeDirectory) {
					t.Errorf("%q in %q was accepted", name, directory)
				}
			}
		}
	})
}
