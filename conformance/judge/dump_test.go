package judge

import (
	"fmt"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
)

func TestDump(t *testing.T) {
	dir := os.Getenv("DUMP")
	m, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(m.Rejected)
	for n := 0; n < 5; n++ {
		t0 := time.Now()
		i, err := startIstiod(m)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("start", time.Since(t0))
		for _, w := range m.Workloads {
			t0 := time.Now()
			c, err := i.config(w)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println(w.ID(), w.Role, time.Since(t0), len(c.Listeners), len(c.Clusters))
			if n == 0 {
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
		}
		i.close()
	}
}
