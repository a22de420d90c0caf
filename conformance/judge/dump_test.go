package judge

import (
	"fmt"
	"os"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
)

func TestDump(t *testing.T) {
	dir := os.Getenv("DUMP")
	m, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	i, err := startIstiod(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range m.Workloads {
		c, err := i.config(w)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := os.Create("/tmp/dump-" + w.Pod.Namespace + "-" + w.Pod.Name + ".txt")
		for _, l := range c.Listeners {
			fmt.Fprintln(f, "LISTENER", prototext.Format(l))
		}
		for _, l := range c.Routes {
			fmt.Fprintln(f, "ROUTE", prototext.Format(l))
		}
		for _, l := range c.Clusters {
			fmt.Fprintln(f, "CLUSTER", prototext.Format(l))
		}
		for _, l := range c.Endpoints {
			fmt.Fprintln(f, "EDS", prototext.Format(l))
		}
		f.Close()
	}
	i.close()
}
