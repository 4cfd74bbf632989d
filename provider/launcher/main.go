// Command launcher is what starts inside a confidential container: it measures itself and the program, has itself attested,
// verifies the image, decrypts what is encrypted, and becomes the program (docs/enclave-protocol.md, section 4).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const version = "1"

// paths are where the launcher finds things. Tests put a folder of theirs in front.
type paths struct{ root string }

func (p paths) at(path string) string {
	if p.root == "" {
		return path
	}
	return p.root + path
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is everything up to the exec, which does not return; so whatever it returns is a failure, or the end of a subcommand.
func run(arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) == 1 && arguments[0] == "ready" {
		if _, err := os.Lstat(readyMark); err != nil {
			return 1
		}
		return 0
	}
	if len(arguments) == 1 && arguments[0] == "version" {
		fmt.Fprintf(stdout, "pulumi-scone launcher %s (%s)\n", version, measurementFormat)
		return 0
	}
	err := start(arguments, stderr)
	var refused *refusal
	if !errors.As(err, &refused) {
		refused = &refusal{code: exitStart, what: err.Error()}
	}
	report(refused, stderr)
	return refused.code
}

func start(arguments []string, stderr io.Writer) error {
	if err := shedRuntimeVariables(); err != nil {
		return err
	}
	protectProcess()
	// A mark from the container's earlier life must not call this one ready.
	_ = os.Remove(readyMark)

	host := readHost(arguments, os.Environ())
	log := newLogger(host.environment["SCONE_LOG"], stderr)
	settings, err := readSettings(host.environment)
	if err != nil {
		return err
	}
	image, err := measureImage(paths{}, host.environment)
	if err != nil {
		return err
	}
	log.info("measured %s: %s", image.configuration.program, image.measurement)

	answer, err := attest(context.Background(), settings, image, host, log)
	if err != nil {
		return err
	}
	// A one-time password may stand behind the name.
	name, _, _ := strings.Cut(settings.configID, "@")
	log.info("attested as %s by %s", name, settings.address)

	if err := establish(paths{}, image, answer, log); err != nil {
		return err
	}
	return become(image, answer, log)
}

// establish makes the file system what the program may trust: verified, decrypted, with its injection files.
func establish(p paths, image *image, answer *answer, log *logger) error {
	if answer.Protection == nil {
		// Without a tag nothing is known about the image, so no file, mount or root can be compared with
		// anything: the measurement (launcher, program, loader, settings) is all that was checked.
		log.warn("the policy has no fspf_tag for this service: only its measurement was verified, no file and no mount")
		if len(answer.Files) > 0 {
			return integrity("the policy delivers injection files, but no protection of the file system to hold them")
		}
		return nil
	}
	if answer.Protection.Tag == nil {
		log.warn("the policy gives no fspf_tag for this service: any older image under its key would be accepted as well")
	}
	protection, err := loadProtection(p, image, answer.Protection)
	if err != nil {
		return err
	}
	files, err := matchInjected(protection, answer.Files, log)
	if err != nil {
		return err
	}
	mounts, err := readMounts(mountinfoPath)
	if err != nil {
		return err
	}
	if problems := checkMounts(mounts, protection); len(problems) > 0 {
		return refuseProblems(problems)
	}
	hidden, err := verify(p, image, protection)
	if err != nil {
		return err
	}
	log.info("verified %d paths", len(protection.entries))
	if hidden > 0 {
		log.info("%d paths are closed to this user: their content was not compared", hidden)
	}
	if err := renouncePrivileges(); err != nil {
		return err
	}
	if err := unpack(p, protection, answer.Protection.Key, files); err != nil {
		return err
	}
	log.info("decrypted %d directories, wrote %d injection files", len(protection.encrypted), len(files))
	return nil
}
