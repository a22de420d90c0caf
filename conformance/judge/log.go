package judge

import (
	"sync"

	"k8s.io/klog/v2"

	istiolog "istio.io/istio/pkg/log"
)

// silence stops istiod's own logging, once: it warns about every odd object,
// and odd objects are the point here.
var silence = sync.OnceFunc(func() {
	for _, scope := range istiolog.Scopes() {
		scope.SetOutputLevel(istiolog.NoneLevel)
	}
	klog.LogToStderr(false)
	klog.SetOutput(discard{})
})

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
