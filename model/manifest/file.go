package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf16"
)

// file is one file of the input. Its text is read when it is loaded and again,
// in part, when a position in it is asked for.
type file struct {
	store *store
	// shown is the name in positions; it may differ from the path.
	shown string
	// root and rel say where the file lies: opening it through the root keeps
	// links that were changed meanwhile from leading elsewhere. root is nil
	// for standard input.
	root *os.Root
	rel  string
	path string // absolute, without links; "" for standard input
	// kept is the text where reading a part of the file again is not possible:
	// of standard input, and of files in another encoding.
	kept []byte

	// skip is the length of the byte order mark, once read was called.
	skip int64
}

var (
	errTooLarge   = errors.New("too large")
	errNotRegular = errors.New("not a regular file")
)

// read returns the text of the file as UTF-8 without byte order mark, with
// "\n" or "\r\n" at the ends of lines.
func (f *file) read(limit int64) ([]byte, error) {
	return f.readInto(limit, f.open, func(size int) []byte { return make([]byte, size) })
}

// readInto is read with the file opened by somebody else, and with room in memory
// that somebody else gives: the text is good as long as that is.
func (f *file) readInto(limit int64, open func() (*os.File, error), room func(size int) []byte) ([]byte, error) {
	if f.kept != nil {
		return f.kept, nil
	}
	raw, err := raw(limit, open, room)
	if err != nil {
		return nil, err
	}
	text, skip, rewritten := decode(raw)
	f.skip = int64(skip)
	if rewritten {
		f.kept = text
	}
	return text, nil
}

func raw(limit int64, open func() (*os.File, error), room func(size int) []byte) ([]byte, error) {
	in, err := open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case info.Size() > limit:
		return nil, errTooLarge
	}
	text := room(int(info.Size()) + 1)
	n, err := in.Read(text)
	text = text[:n:n]
	if err == nil && int64(n) == info.Size() {
		return text, nil // less than there was room for, so that it is all
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	rest, err := io.ReadAll(io.LimitReader(in, limit+1-int64(n)))
	if err == nil && int64(n+len(rest)) > limit {
		err = errTooLarge
	}
	return append(text, rest...), err
}

// open opens the file without waiting, as opening a FIFO would for whoever writes
// to it. Whether it is a regular file is to be asked of what was opened.
func (f *file) open() (*os.File, error) {
	return f.root.OpenFile(f.rel, os.O_RDONLY|openWithoutWaiting, 0)
}

// directories opens files one after the other, and the directories that they are
// in once each.
type directories struct {
	root, dir *os.Root
	name      string
}

func (d *directories) open(f *file) (*os.File, error) {
	name := filepath.Dir(f.rel)
	if name == "." {
		return f.open()
	}
	if d.root != f.root || d.name != name {
		d.close()
		dir, err := f.root.OpenRoot(name)
		if err != nil {
			return f.open() // and say what is wrong
		}
		d.root, d.dir, d.name = f.root, dir, name
	}
	return d.dir.OpenFile(filepath.Base(f.rel), os.O_RDONLY|openWithoutWaiting, 0)
}

func (d *directories) close() {
	if d.dir != nil {
		d.dir.Close()
	}
	*d = directories{}
}

// section returns a part of the text, after read was called once.
func (f *file) section(off, length int) ([]byte, error) {
	if f.kept != nil {
		return f.kept[off : off+length], nil
	}
	in, err := f.open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	part := make([]byte, length)
	if _, err := in.ReadAt(part, f.skip+int64(off)); err != nil {
		return nil, err
	}
	return part, nil
}

// decode makes UTF-8 of the bytes of a file. skip is the length of the mark at
// its front; rewritten says that the rest is not as it was.
//
// Single carriage returns are line ends in YAML; as line feeds they are line
// ends for everybody.
func decode(raw []byte) (text []byte, skip int, rewritten bool) {
	switch {
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		raw, skip = raw[3:], 3
	case bytes.HasPrefix(raw, []byte("\xff\xfe")):
		raw, skip, rewritten = decodeUTF16(raw[2:], binary.LittleEndian), 2, true
	case bytes.HasPrefix(raw, []byte("\xfe\xff")):
		raw, skip, rewritten = decodeUTF16(raw[2:], binary.BigEndian), 2, true
	}
	if i := loneReturn(raw, 0); i >= 0 {
		if !rewritten {
			raw, rewritten = slices.Clone(raw), true
		}
		for ; i >= 0; i = loneReturn(raw, i+1) {
			raw[i] = '\n'
		}
	}
	return raw, skip, rewritten
}

// loneReturn finds a carriage return that no line feed follows.
func loneReturn(text []byte, from int) int {
	for from < len(text) {
		i := bytes.IndexByte(text[from:], '\r')
		if i < 0 {
			return -1
		}
		from += i
		if from+1 == len(text) || text[from+1] != '\n' {
			return from
		}
		from += 2
	}
	return -1
}

func decodeUTF16(raw []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// unreadable describes why a file could not be read.
func unreadable(err error, limit int64) (message, help string) {
	switch {
	case errors.Is(err, errTooLarge):
		return fmt.Sprintf("file is larger than %d MiB: left out", limit>>20), "split it"
	case errors.Is(err, errNotRegular):
		return "not a regular file: left out", "give a file, a directory, or - for standard input"
	case errors.Is(err, os.ErrPermission):
		return "file cannot be read: permission denied", "make it readable, or leave it out of the given paths"
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err // without the path, which is absolute
	}
	return "file cannot be read: " + err.Error(), ""
}
