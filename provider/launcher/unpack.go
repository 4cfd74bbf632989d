package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"

	"pulumi-scone/launcher/internal/enclave"
)

const (
	tmpfsMagic    = 0x01021994
	privateFile   = 0o600
	workDirectory = 0o700
	filesMode     = 0o755
)

// matchInjected pairs delivered injection files with the links that the image has for them. Each needs the other; only files
// that are Kubernetes' own may come without a link, and are left to it.
func matchInjected(protection *protection, files []enclave.File, log *logger) (map[string]enclave.File, error) {
	matched := map[string]enclave.File{}
	var problems []problem
	for _, file := range files {
		name, linked := protection.injected[file.Path]
		switch {
		case linked:
			matched[name] = file
		case runtimeFiles[file.Path]:
			log.warn("%s belongs to Kubernetes: the policy's injection file is not written", file.Path)
		default:
			problems = append(problems, problem{file.Path, "the policy injects this file, but the image was built without it"})
		}
	}
	for injected, name := range protection.injected {
		if _, delivered := matched[name]; !delivered {
			problems = append(problems, problem{injected, "the image was built for this injection file, but the policy does not deliver it"})
		}
	}
	if len(problems) > 0 {
		return nil, refuseProblems(problems)
	}
	return matched, nil
}

// unpack writes the injection files and every encrypted directory into their memory mounts.
func unpack(p paths, protection *protection, key []byte, files map[string]enclave.File) error {
	if err := writeInjected(p, protection, files); err != nil {
		return err
	}
	for _, directory := range sortedKeys(protection.encrypted) {
		if err := unpackDirectory(p, protection, directory, key); err != nil {
			return err
		}
	}
	return nil
}

func writeInjected(p paths, protection *protection, files map[string]enclave.File) error {
	memory, err := openMemory(p, memoryPath, protection)
	if err != nil {
		return err
	}
	defer memory.Close()
	if len(files) == 0 {
		return nil
	}
	if err := makeDirectory(memory, "files", filesMode); err != nil {
		return startFailed("%s/files: %s", memoryPath, reason(err))
	}
	for _, name := range sortedKeys(files) {
		file := files[name]
		if err := writeFile(memory, name, file.Content, file.Mode); err != nil {
			return cannotWrite(file.Path, err)
		}
	}
	return nil
}

func unpackDirectory(p paths, protection *protection, directory string, key []byte) error {
	memory, err := openMemory(p, directory, protection)
	if err != nil {
		return err
	}
	defer memory.Close()
	encrypted := protection.encrypted[directory]
	names := sortedKeys(encrypted.entries) // a directory sorts before what lies in it
	var blobs []string
	for _, name := range names {
		switch entry := encrypted.entries[name]; entry.kind {
		case 'd':
			err = makeDirectory(memory, name, workDirectory)
		case 'f':
			blobs = append(blobs, name)
		}
		if err != nil {
			return cannotWrite(path.Join(directory, name), err)
		}
	}
	if err := decryptAll(p, memory, directory, encrypted, blobs, key); err != nil {
		return err
	}
	// Links come after files and modes after all content: nothing is ever written through a link or into a closed directory.
	slices.Reverse(names)
	for _, name := range names {
		switch entry := encrypted.entries[name]; entry.kind {
		case 'l':
			err = memory.Symlink(entry.digest, name)
		case 'd':
			err = memory.Chmod(name, fs.FileMode(entry.mode))
		}
		if err != nil {
			return cannotWrite(path.Join(directory, name), err)
		}
	}
	// The mount itself is the kubelet's: only root may give it the mode that the directory had.
	if err := memory.Chmod(".", fs.FileMode(encrypted.mode)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return cannotWrite(directory, err)
	}
	return nil
}

func decryptAll(p paths, memory *os.Root, directory string, encrypted *encryptedDirectory, names []string, key []byte) error {
	jobs := make(chan string)
	failures := make(chan error, len(names))
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(names)) {
		workers.Go(func() {
			for name := range jobs {
				if err := decryptFile(p, memory, directory, name, encrypted.entries[name], key); err != nil {
					failures <- err
				}
			}
		})
	}
	for _, name := range names {
		if len(failures) > 0 {
			break
		}
		jobs <- name
	}
	close(jobs)
	workers.Wait()
	close(failures)
	return <-failures
}

func decryptFile(p paths, memory *os.Root, directory, name string, entry *encryptedEntry, key []byte) error {
	absolute := path.Join(directory, name)
	blob := blobsPath + "/" + entry.blob
	sealed, err := readLimited(p.at(blob), entry.size+sealOverhead)
	if err != nil {
		return integrity("%s: %s", blob, reason(err))
	}
	// The plaintext takes the blob's place in memory.
	defer clear(sealed)
	if found := digestOf(sealed); found != entry.blobDigest {
		return integrity("%s: %s", blob, differs(entry.blobDigest, found))
	}
	plaintext, err := unseal(sealed, key, fileLabel(absolute, entry.mode))
	if err != nil {
		return integrity("%s: does not open with the key of the policy", absolute)
	}
	if int64(len(plaintext)) != entry.size || digestOf(plaintext) != entry.digest {
		return integrity("%s: the decrypted content is not the listed one", absolute)
	}
	if err := writeFile(memory, name, plaintext, entry.mode); err != nil {
		return cannotWrite(absolute, err)
	}
	return nil
}

// openMemory opens a memory mount and removes what an earlier life of the container left there.
func openMemory(p paths, directory string, protection *protection) (*os.Root, error) {
	memory, err := os.OpenRoot(p.at(directory))
	if err != nil {
		return nil, startFailed("%s: %s", directory, reason(err))
	}
	if err := requireMemory(memory); err != nil {
		memory.Close()
		return nil, integrity("%s: %s", directory, err)
	}
	var kept []string
	for _, volume := range protection.volumes {
		if relative, inside := strings.CutPrefix(volume, directory+"/"); inside {
			kept = append(kept, relative)
		}
	}
	if err := empty(memory, ".", kept); err != nil {
		memory.Close()
		return nil, startFailed("%s: cannot remove what lies there: %s", directory, reason(err))
	}
	return memory, nil
}

// requireMemory asks the opened directory itself, so that nothing can come between the check and the use.
func requireMemory(memory *os.Root) error {
	directory, err := memory.Open(".")
	if err != nil {
		return err
	}
	defer directory.Close()
	var status syscall.Statfs_t
	if err := syscall.Fstatfs(int(directory.Fd()), &status); err != nil {
		return err
	}
	if status.Type != tmpfsMagic {
		return errors.New("not in memory (tmpfs): nothing is decrypted there")
	}
	return nil
}

// empty removes everything in a directory except volumes that are mounted below it. Links are removed, never followed.
func empty(root *os.Root, directory string, kept []string) error {
	opened, err := root.Open(directory)
	if err != nil {
		return err
	}
	names, err := opened.Readdirnames(-1)
	opened.Close()
	if err != nil {
		return err
	}
	for _, child := range names {
		name := path.Join(directory, child)
		leadsToVolume := slices.ContainsFunc(kept, func(volume string) bool { return below(volume, name) })
		switch {
		case slices.Contains(kept, name):
		case leadsToVolume:
			err = empty(root, name, kept)
		default:
			err = removeAll(root, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeAll also removes directories that the program closed to itself.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() {
		return err
	}
	if err := root.Chmod(name, workDirectory); err != nil {
		return err
	}
	if err := empty(root, name, nil); err != nil {
		return err
	}
	return root.Remove(name)
}

func makeDirectory(root *os.Root, name string, mode fs.FileMode) error {
	// An ancestor of a volume survives empty.
	if err := root.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fs.ErrExist
	}
	if err != nil {
		return err
	}
	return root.Chmod(name, mode)
}

func writeFile(root *os.Root, name string, content []byte, mode uint32) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, privateFile)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = syscall.Fchmod(int(file.Fd()), mode)
	}
	return errors.Join(err, file.Close())
}

func cannotWrite(name string, err error) error {
	hint := ""
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, io.ErrShortWrite) {
		hint = " (the volume in memory is too small)"
	}
	return startFailed("cannot write %s: %s%s", name, reason(err), hint)
}

func sortedKeys[Value any](values map[string]Value) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
