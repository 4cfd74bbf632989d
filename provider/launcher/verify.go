package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

const (
	hashBuffer   = 256 << 10
	hashQueue    = 256
	sconeMode    = 0o755
	sconeFile    = 0o644
	executeCheck = 1 // X_OK of access(2)
)

// runtimeDirectories and runtimeFiles belong to the container runtime; nothing is promised about them.
var (
	runtimeDirectories = []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp"}
	runtimeFiles       = map[string]bool{"/etc/hosts": true, "/etc/hostname": true, "/etc/resolv.conf": true}
)

const runtimeLink = "/etc/mtab"

// verifier compares a file system with the list of what it must contain, in one pass over its directories; workers hash meanwhile.
type verifier struct {
	paths    paths
	expected map[string]*entry
	skipped  map[string]bool // nothing at or below these is compared
	passages map[string]bool // directories that may exist unlisted, because a skipped path lies below them
	closed   map[string]bool // directories that this user cannot enter
	hidden   int             // paths whose content this user cannot read

	lock     sync.Mutex
	problems []problem
}

type hashJob struct {
	path  string
	entry *entry
}

// verify checks every listed path and refuses every other one. It returns how many paths this user has no permission to read:
// the program runs as the same user, so it cannot read them either, and renouncePrivileges keeps it from becoming another.
func verify(p paths, image *image, protection *protection) (hidden int, err error) {
	v := newVerifier(p, image, protection)
	jobs := make(chan hashJob, hashQueue)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			buffer := make([]byte, hashBuffer)
			for job := range jobs {
				v.hash(job, buffer)
			}
		})
	}
	v.root(jobs)
	close(jobs)
	workers.Wait()
	v.findMissing()
	if len(v.problems) > 0 {
		return 0, refuseProblems(v.problems)
	}
	return v.hidden, nil
}

func newVerifier(p paths, image *image, protection *protection) *verifier {
	v := &verifier{
		paths:    p,
		expected: protection.entries,
		skipped:  map[string]bool{runtimeLink: true, memoryPath: true},
		passages: map[string]bool{},
		closed:   map[string]bool{},
	}
	for _, names := range [][]string{runtimeDirectories, protection.volumes, protection.unprotected} {
		for _, name := range names {
			v.skipped[name] = true
		}
	}
	for name := range runtimeFiles {
		v.skipped[name] = true
	}
	for directory := range protection.encrypted {
		v.skipped[directory] = true
	}
	for name := range v.skipped {
		for parent := path.Dir(name); parent != "/"; parent = path.Dir(parent) {
			v.passages[parent] = true
		}
	}
	v.expectOwnFiles(image, protection)
	return v
}

// expectOwnFiles lists what /.scone contains. Blobs are compared by size here and by digest when they are decrypted.
func (v *verifier) expectOwnFiles(image *image, protection *protection) {
	v.expected[sconeDirectory] = &entry{kind: 'd', mode: sconeMode}
	v.expected[sconeDirectory+"/launcher"] = &entry{kind: 'f', mode: sconeMode, size: image.launcherSize, digest: image.launcherDigest}
	v.expected[configurationPath] = &entry{
		kind: 'f', mode: sconeFile, size: int64(len(image.configurationFile)), digest: protection.configurationDigest,
	}
	v.expected[basePath] = &entry{kind: 'f', mode: sconeFile, size: protection.baseSize}
	v.expected[servicePath] = &entry{kind: 'f', mode: sconeFile, size: protection.serviceSize}
	v.passages[blobsPath] = true
	for _, directory := range protection.encrypted {
		for _, file := range directory.entries {
			if file.kind == 'f' {
				v.expected[blobsPath] = &entry{kind: 'd', mode: sconeMode}
				v.expected[blobsPath+"/"+file.blob] = &entry{kind: 'f', mode: sconeFile, size: file.size + sealOverhead}
			}
		}
	}
}

func (v *verifier) root(jobs chan<- hashJob) {
	// The mode of / is not the image's: runtimes put a directory of their own on top of the layers.
	if root := v.expected["/"]; root == nil || root.kind != 'd' {
		v.fail("/", "the protection does not list the root directory")
	} else {
		root.seen = true
	}
	v.walk("/", jobs)
}

func (v *verifier) walk(directory string, jobs chan<- hashJob) {
	file, err := os.Open(v.paths.at(directory))
	if err != nil {
		v.enterFailed(directory, err)
		return
	}
	found, err := file.ReadDir(-1)
	file.Close()
	if err != nil {
		v.fail(directory, reason(err))
		return
	}
	for _, child := range found {
		name := path.Join(directory, child.Name())
		if v.skipped[name] {
			continue
		}
		info, err := child.Info()
		if errors.Is(err, fs.ErrPermission) {
			v.closed[directory] = true
			v.hidden++
			continue
		}
		if err != nil {
			v.fail(name, reason(err))
			continue
		}
		v.compare(name, info, jobs)
	}
}

// enterFailed decides about a directory that cannot be listed. That is harmless where the program, being the same user, cannot
// reach into it either. Where it can (search permission without read permission) unlisted files could hide.
func (v *verifier) enterFailed(directory string, err error) {
	if !errors.Is(err, fs.ErrPermission) {
		v.fail(directory, reason(err))
		return
	}
	v.closed[directory] = true
	v.hidden++
	if syscall.Access(v.paths.at(directory), executeCheck) == nil {
		v.fail(directory, "this user can reach into it but not list it, so it cannot be verified")
	}
}

func (v *verifier) compare(name string, info fs.FileInfo, jobs chan<- hashJob) {
	kind := kindOf(info.Mode())
	expected := v.expected[name]
	if expected == nil {
		if kind == 'd' && v.passages[name] {
			v.walk(name, jobs)
			return
		}
		v.fail(name, "the image does not list it")
		return
	}
	expected.seen = true
	if kind != expected.kind {
		v.fail(name, fmt.Sprintf("expected %s, found %s", kindNames[expected.kind], kindNames[kind]))
		return
	}
	if kind == 'l' {
		v.compareLink(name, expected)
		return
	}
	stat, isStat := info.Sys().(*syscall.Stat_t)
	if !isStat {
		v.fail(name, "its mode cannot be read")
		return
	}
	if mode := stat.Mode & highestMode; mode != expected.mode {
		v.fail(name, fmt.Sprintf("expected mode %04o, found %04o", expected.mode, mode))
	}
	switch kind {
	case 'd':
		v.walk(name, jobs)
	case 'f':
		if info.Size() != expected.size {
			v.fail(name, fmt.Sprintf("expected %d bytes, found %d", expected.size, info.Size()))
			return
		}
		// Where no digest is known here the content was, or will be, verified when it is read.
		if expected.digest != "" {
			jobs <- hashJob{name, expected}
		}
	}
}

func (v *verifier) compareLink(name string, expected *entry) {
	target, err := os.Readlink(v.paths.at(name))
	switch {
	case err != nil:
		v.fail(name, reason(err))
	case target != expected.digest:
		v.fail(name, fmt.Sprintf("expected a link to %s, found one to %s", expected.digest, target))
	}
}

func (v *verifier) hash(job hashJob, buffer []byte) {
	file, err := os.OpenFile(v.paths.at(job.path), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		v.unreadable(job.path)
		return
	}
	if err != nil {
		v.fail(job.path, reason(err))
		return
	}
	defer file.Close()
	hash := sha256.New()
	// Only a plain Reader makes CopyBuffer use the worker's buffer.
	if _, err := io.CopyBuffer(hash, struct{ io.Reader }{file}, buffer); err != nil {
		v.fail(job.path, reason(err))
		return
	}
	if found := hex.EncodeToString(hash.Sum(nil)); found != job.entry.digest {
		v.fail(job.path, differs(job.entry.digest, found))
	}
}

// unreadable decides about a file that this user may not read, and so the program may not either; but it might execute it.
func (v *verifier) unreadable(name string) {
	if syscall.Access(v.paths.at(name), executeCheck) == nil {
		v.fail(name, "this user can execute but not read it, so it cannot be verified")
		return
	}
	v.lock.Lock()
	defer v.lock.Unlock()
	v.hidden++
}

func (v *verifier) findMissing() {
	for name, expected := range v.expected {
		if !expected.seen && !v.excused(name) {
			v.fail(name, "missing")
		}
	}
}

// excused tells whether the walk never came by, because of a skipped or a closed directory above.
func (v *verifier) excused(name string) bool {
	if v.skipped[name] {
		return true
	}
	for name != "/" {
		name = path.Dir(name)
		if v.skipped[name] || v.closed[name] {
			return true
		}
	}
	return false
}

func (v *verifier) fail(name, what string) {
	v.lock.Lock()
	defer v.lock.Unlock()
	v.problems = append(v.problems, problem{name, what})
}

var kindNames = map[byte]string{'f': "a file", 'd': "a directory", 'l': "a symbolic link", 'o': "a special file"}

func kindOf(mode fs.FileMode) byte {
	switch {
	case mode.IsRegular():
		return 'f'
	case mode.IsDir():
		return 'd'
	case mode&fs.ModeSymlink != 0:
		return 'l'
	default:
		return 'o'
	}
}

// below tells whether the path is the directory or lies in it.
func below(name, directory string) bool {
	return name == directory || strings.HasPrefix(name, directory+"/")
}
