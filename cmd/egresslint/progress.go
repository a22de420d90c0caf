package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// progress says on standard error what is being done, where that is a terminal
// and it takes longer than a second. The line is gone after done.
func (c *Command) progress(doing string) (done func()) {
	file, ok := c.Stderr.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || !isatty.IsTerminal(file.Fd()) {
		return func() {}
	}
	return showProgress(file, doing, time.Second)
}

// showProgress writes a line that grows old, each period from the first on.
func showProgress(w io.Writer, doing string, period time.Duration) (done func()) {
	var wait sync.WaitGroup
	over := make(chan struct{})
	wait.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		shown := false
		for n := 1; ; n++ {
			select {
			case <-tick.C:
				shown = true
				fmt.Fprintf(w, "\r\x1b[Kegresslint: %s … %s", doing, time.Duration(n)*period)
			case <-over:
				if shown {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			}
		}
	})
	return func() {
		close(over)
		wait.Wait()
	}
}
