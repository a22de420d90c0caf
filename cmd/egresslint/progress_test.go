package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressIsGoneAfterwards(t *testing.T) {
	var out notifier
	out.written = make(chan struct{}, 100)
	done := showProgress(&out, "reading", time.Millisecond)
	<-out.written
	<-out.written
	done()
	text := out.String()
	if !strings.Contains(text, "egresslint: reading … 1ms") || !strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("%q", text)
	}
}

func TestNoProgressOfShortWork(t *testing.T) {
	var out notifier
	showProgress(&out, "reading", time.Hour)()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

func TestNoProgressWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	c := Command{Stderr: &out}
	done := c.progress("reading")
	done()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

// notifier is a buffer that tells of writes.
type notifier struct {
	bytes.Buffer
	written chan struct{}
}

func (n *notifier) Write(p []byte) (int, error) {
	select {
	case n.written <- struct{}{}:
	default:
	}
	return n.Buffer.Write(p)
}
