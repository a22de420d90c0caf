package judge

import (
	"sync"

	"k8s.io/klog/v2"

	"istio.io/istio/pkg/kube/krt"
	istiolog "istio.io/istio/pkg/log"
)

// silence stops istiod's own logging, once: it warns about every odd object,
// and odd objects are the point here. It also ends istiod's list of all its
// collections, kept for a debugging page: pilot/pkg/config/memory/store.go and
// pilot/pkg/config/aggregate/config.go put theirs on a global one, which holds
// every mesh in memory for good.
var silence = sync.OnceFunc(func() {
	for _, scope := range istiolog.Scopes() {
		scope.SetOutputLevel(istiolog.NoneLevel)
	}
	klog.LogToStderr(false)
	klog.SetOutput(discard{})
	krt.GlobalDebugHandler = nil
})

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
