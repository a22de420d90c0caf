package agree

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/egresslint/egresslint/conformance/judge"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/traffic"
)

// Answer is what both say to one flow.
type Answer struct {
	Flow           flow.Flow
	Judge, Product *flow.Trace
	// Differences are as in [Differences].
	Differences []string
}

// Result is a mesh's answers, in the order of its flows.
type Result struct {
	Answers []Answer
	// Rejected are the objects that validation refused, by the judge and by
	// the product.
	Rejected, ProductRejected int
	// Time spent.
	JudgeOpen, JudgeTrace, ProductOpen, ProductTrace time.Duration
}

// Check puts flows to a stream of manifests. An error says that one of the two
// could not answer at all; a panic of either is one.
func Check(stream []byte, flows []flow.Flow) (result *Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	result = &Result{}
	start := time.Now()
	lap := func(into *time.Duration) {
		now := time.Now()
		*into += now.Sub(start)
		start = now
	}
	manifests, err := judge.Parse(stream)
	if err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	result.Rejected = len(manifests.Rejected)
	mesh, err := judge.Open(manifests)
	if err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	defer mesh.Close()
	lap(&result.JudgeOpen)
	for _, f := range flows {
		result.Answers = append(result.Answers, Answer{Flow: f, Judge: mesh.Trace(f)})
	}
	lap(&result.JudgeTrace)

	built, _, err := model.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(stream),
	}, model.Options{})
	if err != nil {
		return nil, fmt.Errorf("product: %w", err)
	}
	for _, p := range built.Problems {
		if p.Kind == manifest.Rejected {
			result.ProductRejected++
		}
	}
	simulation := traffic.New(built)
	lap(&result.ProductOpen)
	for i := range result.Answers {
		result.Answers[i].Product = simulation.Trace(result.Answers[i].Flow)
	}
	lap(&result.ProductTrace)
	for i := range result.Answers {
		a := &result.Answers[i]
		a.Differences = Differences(a.Judge, a.Product, &Input{manifests})
	}
	return result, nil
}
