package enclave

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"pulumi-scone/launcher/internal/strictjson"
)

// Answer is what CAS delivers to a program that it accepts.
type Answer struct {
	ConfigID         string            `json:"config_id"`
	Arguments        []string          `json:"arguments"` // empty where the image's own program is meant, without arguments
	Environment      map[string]string `json:"environment"`
	WorkingDirectory string            `json:"working_directory"` // "/" where the service names none
	Protection       *Protection       `json:"protection"`        // nil where the service has no fspf_tag
	Files            []File            `json:"files"`             // sorted by path, each path once
}

// Protection opens and identifies the protection file of the image.
type Protection struct {
	Key []byte `json:"key"` // 32 bytes
	Tag []byte `json:"tag"` // 16 bytes; nil where any file under the key will do (no_rollback_protection)
}

// File is an injection file.
type File struct {
	Path    string `json:"path"` // absolute and clean
	Content []byte `json:"content"`
	Mode    uint32 `json:"mode"` // permission bits
}

const (
	protectionKeySize = 32
	protectionTagSize = 16
	highestMode       = 0o7777
)

// ParseAnswer reads the plaintext of an answer. Its errors name keys, never values.
func ParseAnswer(plaintext []byte, configID string) (*Answer, error) {
	members, err := strictjson.Object(plaintext, []string{
		"protocol", "config_id", "arguments", "environment", "working_directory", "protection", "files",
	}, nil)
	if err != nil {
		return nil, err
	}
	answer := &Answer{WorkingDirectory: "/"}
	read := func(key string, into func(json.RawMessage) error) {
		if err == nil {
			if failed := into(members[key]); failed != nil {
				err = fmt.Errorf("%s: %w", key, failed)
			}
		}
	}
	read("protocol", func(value json.RawMessage) error {
		_, failed := strictjson.Int(value, protocolVersion, protocolVersion)
		return failed
	})
	read("config_id", func(value json.RawMessage) (failed error) {
		if answer.ConfigID, failed = strictjson.String(value); failed == nil && answer.ConfigID != configID {
			failed = errors.New("not the one that was asked for")
		}
		return failed
	})
	read("arguments", func(value json.RawMessage) error { return answer.readArguments(value) })
	read("environment", func(value json.RawMessage) error { return answer.readEnvironment(value) })
	read("working_directory", func(value json.RawMessage) (failed error) {
		if strictjson.IsNull(value) {
			return nil
		}
		if answer.WorkingDirectory, failed = strictjson.String(value); failed == nil && !IsCleanPath(path.Clean(answer.WorkingDirectory)) {
			failed = errors.New("not an absolute path")
		}
		return failed
	})
	read("protection", func(value json.RawMessage) error { return answer.readProtection(value) })
	read("files", func(value json.RawMessage) error { return answer.readFiles(value) })
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func (answer *Answer) readArguments(value json.RawMessage) (err error) {
	if answer.Arguments, err = strictjson.Strings(value); err != nil {
		return err
	}
	if len(answer.Arguments) > 0 && answer.Arguments[0] == "" {
		return errors.New("no program is named")
	}
	for _, argument := range answer.Arguments {
		if strings.ContainsRune(argument, 0) {
			return errors.New("an argument contains NUL")
		}
	}
	return nil
}

func (answer *Answer) readEnvironment(value json.RawMessage) (err error) {
	if answer.Environment, err = strictjson.StringMap(value); err != nil {
		return err
	}
	for name, text := range answer.Environment {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(text, 0) {
			return errors.New("a variable that no process can have")
		}
	}
	return nil
}

func (answer *Answer) readProtection(value json.RawMessage) error {
	if strictjson.IsNull(value) {
		return nil
	}
	members, err := strictjson.Object(value, []string{"key", "tag"}, nil)
	if err != nil {
		return err
	}
	protection := &Protection{}
	if protection.Key, err = strictjson.Hex(members["key"], protectionKeySize); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if !strictjson.IsNull(members["tag"]) {
		if protection.Tag, err = strictjson.Hex(members["tag"], protectionTagSize); err != nil {
			return fmt.Errorf("tag: %w", err)
		}
	}
	answer.Protection = protection
	return nil
}

func (answer *Answer) readFiles(value json.RawMessage) error {
	elements, err := strictjson.Array(value)
	if err != nil {
		return err
	}
	answer.Files = make([]File, len(elements))
	for index, element := range elements {
		members, err := strictjson.Object(element, []string{"path", "content", "mode"}, nil)
		if err != nil {
			return err
		}
		file := &answer.Files[index]
		if file.Path, err = strictjson.String(members["path"]); err != nil || !IsCleanPath(file.Path) || file.Path == "/" {
			return errors.New("path: not a clean absolute path")
		}
		if index > 0 && answer.Files[index-1].Path >= file.Path {
			return errors.New("not sorted by path, or a path comes twice")
		}
		if file.Content, err = strictjson.Bytes(members["content"]); err != nil {
			return fmt.Errorf("content: %w", err)
		}
		mode, err := strictjson.Int(members["mode"], 0, highestMode)
		if err != nil {
			return fmt.Errorf("mode: %w", err)
		}
		file.Mode = uint32(mode)
	}
	return nil
}

// IsCleanPath tells whether the path is absolute and has one spelling only.
func IsCleanPath(name string) bool {
	return strings.HasPrefix(name, "/") && path.Clean(name) == name && !strings.ContainsRune(name, 0)
}
