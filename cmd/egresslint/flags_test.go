package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// wantError compares an error with the text that it should hold, "" for none.
func wantError(t *testing.T, what string, err error, want string) bool {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && err == nil:
		t.Errorf("%s: no error, want %q", what, want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("%s: error %q, want %q", what, err, want)
	}
	return want == "" && err == nil
}

func TestParseTo(t *testing.T) {
	for _, test := range []struct {
		to   string
		want flow.Flow
		err  string
	}{
		{to: "http://a.example", want: flow.Flow{Scheme: flow.HTTP, Host: "a.example", Port: 80, Path: "/"}},
		{to: "https://a.example/v1/x?y=z", want: flow.Flow{Scheme: flow.HTTPS, Host: "a.example", Port: 443, Path: "/v1/x?y=z"}},
		{to: "https://a.example:8443/%2e%2e", want: flow.Flow{Scheme: flow.HTTPS, Host: "a.example", Port: 8443, Path: "/%2e%2e"}},
		{to: "https://[2001:db8::1]/", want: flow.Flow{Scheme: flow.HTTPS, Host: "2001:db8::1", Port: 443, Path: "/"}},
		{to: "tls://a.example", want: flow.Flow{Scheme: flow.TLS, Host: "a.example", Port: 443}},
		{to: "tcp://10.0.0.1:5432", want: flow.Flow{Scheme: flow.TCP, Host: "10.0.0.1", Port: 5432}},
		{to: "udp://10.0.0.1:53/", want: flow.Flow{Scheme: flow.UDP, Host: "10.0.0.1", Port: 53}},
		{to: "a.example", err: "as in https://a.example"},
		{to: "ftp://a.example", err: "give http, https, tls, tcp or udp"},
		{to: "tcp://a.example", err: "give a port, as in tcp://a.example:5432"},
		{to: "http://a.example:0", err: "port 0 is not between"},
		{to: "http://a.example:65536", err: "port 65536 is not between"},
		{to: "http://a.example:x", err: "invalid port"},
		{to: "http://:80", err: "no host"},
		{to: "http://u:p@a.example", err: "user name"},
		{to: "http://a.example/#x", err: "fragment"},
		{to: "tcp://a.example:1/x", err: "a path belongs to http"},
	} {
		got, err := parseTo(test.to)
		if wantError(t, test.to, err, test.err) && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.to, got, test.want)
		}
	}
}

func TestFlowFlags(t *testing.T) {
	for _, test := range []struct {
		flags flowFlags
		want  flow.Flow
		err   string
	}{
		{flags: flowFlags{from: "a/b", to: "http://h", headers: []string{"x-a=b=c", "Host: other", "x-e:"}, method: "PUT"},
			want: flow.Flow{From: "a/b", Host: "h", Port: 80, Scheme: flow.HTTP, Path: "/", Method: "PUT", Headers: map[string]string{"x-a": "b=c", "Host": "other", "x-e": ""}}},
		{flags: flowFlags{from: "a/b", to: "tls://h", sni: "s", dstIP: "2001:db8::1", connectTo: "ns/svc:443", bypass: true},
			want: flow.Flow{From: "a/b", Host: "h", Port: 443, Scheme: flow.TLS, SNI: "s", DstIP: "2001:db8::1", ConnectTo: "ns/svc:443", Bypass: true}},
		{flags: flowFlags{to: "http://h"}, err: "--from NAMESPACE/WORKLOAD and --to URL"},
		{flags: flowFlags{from: "a/b"}, err: "--from NAMESPACE/WORKLOAD and --to URL"},
		{flags: flowFlags{from: "b", to: "http://h"}, err: `--from "b": write NAMESPACE/WORKLOAD`},
		{flags: flowFlags{from: "a/b", to: "http://h", headers: []string{"x"}}, err: `--header "x"`},
		{flags: flowFlags{from: "a/b", to: "http://h", headers: []string{"=x"}}, err: `--header "=x"`},
		{flags: flowFlags{from: "a/b", to: "http://h", dstIP: "h"}, err: `--dst-ip "h" is no IP address`},
		{flags: flowFlags{from: "a/b", to: "tcp://h:1", method: "GET"}, err: "belong to http and https"},
		{flags: flowFlags{from: "a/b", to: "http://h", sni: "s"}, err: "--sni belongs to https and tls"},
	} {
		got, err := test.flags.parse()
		if wantError(t, fmt.Sprintf("%+v", test.flags), err, test.err) && !reflect.DeepEqual(got, test.want) {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
	}
}

func TestParseDestination(t *testing.T) {
	for _, test := range []struct {
		to   string
		want reach.Destination
		err  string
	}{
		{to: "a.example", want: reach.Destination{Host: "a.example"}},
		{to: "a.example:443", want: reach.Destination{Host: "a.example", Port: 443}},
		{to: "2001:db8::1", want: reach.Destination{Host: "2001:db8::1"}},
		{to: "[2001:db8::1]", want: reach.Destination{Host: "2001:db8::1"}},
		{to: "[2001:db8::1]:80", want: reach.Destination{Host: "2001:db8::1", Port: 80}},
		{to: "a.example:", err: "no port"}, {to: ":80", err: "no host"}, {to: "a:b:c", err: "brackets"},
		{to: "a.example:99999", err: "between 1 and 65535"}, {to: "a.example:https", err: "between 1 and 65535"},
		{to: "https://a.example", err: "without a scheme"},
	} {
		got, err := parseDestination(test.to)
		if wantError(t, test.to, err, test.err) && got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.to, got, test.want)
		}
	}
}

func TestParsePaths(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("odd=name.yaml", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := parsePaths([]string{"base", "overlays/prod=prod", "<stdin>=stdin-ns", "odd=name.yaml", "odd=name.yaml=ns", "=x"})
	want := []manifest.Path{{Name: "base"}, {Name: "overlays/prod", Namespace: "prod"}, {Name: "-", Namespace: "stdin-ns"},
		{Name: "odd=name.yaml"}, {Name: "odd=name.yaml", Namespace: "ns"}, {Name: "=x"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got := shieldStdin([]string{"reach", "-=ns", "-v", "--", "-=x"}); !reflect.DeepEqual(got, []string{"reach", "<stdin>=ns", "-v", "--", "-=x"}) {
		t.Errorf("arguments become %q", got)
	}
	for args, want := range map[string]string{"-,-=x": "given twice", "a=": "no namespace after the =", ",a": "a PATH is empty"} {
		_, err := parsePaths(strings.Split(args, ","))
		wantError(t, args, err, want)
	}
}

func TestParseNamespaceLabels(t *testing.T) {
	got, err := parseNamespaceLabels([]string{"shop:istio-injection=enabled", "bare", "a:istio.io/rev=", "a:k=v=w"})
	want := []model.NamespaceLabel{{Namespace: "shop", Key: "istio-injection", Value: "enabled"}, {Namespace: "bare"}, {Namespace: "a", Key: "istio.io/rev"}, {Namespace: "a", Key: "k", Value: "v=w"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", ":k=v", "shop:", "shop:k", "shop:=v", "k=v", "a/b"} {
		_, err := parseNamespaceLabels([]string{bad})
		wantError(t, bad, err, "write NS:KEY=VALUE")
	}
}

func TestTargets(t *testing.T) {
	for _, test := range []struct{ args, want, err string }{
		{args: "", want: "text>"},
		{args: "--format json", want: "json>"},
		{args: "--format sarif --output x", want: "sarif>x"},
		{args: "--output x", want: "text>x"},
		{args: "--output x --format sarif", want: "sarif>x"},
		{args: "--format text --output - --format sarif --output x", want: "text>- sarif>x"},
		{args: "--format text --format sarif --output - --output x", want: "text>- sarif>x"},
		{args: "--output x --output y --format text --format sarif", want: "text>x sarif>y"},
		{args: "--format sarif --output x --format text", want: "sarif>x text>"},
		{args: "--format text --format sarif --output x", want: "text> sarif>x"},
		{args: "--output x --format text --format sarif", err: "it is not clear for which --format"},
		{args: "--format text --format sarif", err: "would both go to standard output"},
		{args: "--format text --format sarif --output x --output x", err: "would both go to x"},
		{args: "--format text --output x --format sarif --output ./x", err: "would both go to x"},
		{args: "--format text --output x --output y", err: `--output "y" has no --format`},
		{args: "--format text --output", err: "needs an argument"},
		{args: "--format=", err: "is empty"},
	} {
		var f targetFlags
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.register(fs, "text|json|sarif")
		err := fs.Parse(strings.Fields(test.args))
		var targets []target
		if err == nil {
			targets, err = f.targets()
		}
		var got []string
		for _, t := range targets {
			got = append(got, t.format+">"+t.output)
		}
		if wantError(t, test.args, err, test.err) && strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %q, want %q", test.args, got, test.want)
		}
	}
}

func TestFailing(t *testing.T) {
	findings := func(severities ...analyzers.Severity) (out []analyzers.Finding) {
		for _, s := range severities {
			out = append(out, analyzers.Finding{Severity: s})
		}
		return out
	}
	for _, test := range []struct {
		failOn string
		found  []analyzers.Finding
		want   bool
	}{
		{"error", nil, false}, {"note", nil, false},
		{"error", findings(analyzers.Warning, analyzers.Note), false},
		{"error", findings(analyzers.Note, analyzers.Error), true},
		{"warning", findings(analyzers.Note), false},
		{"warning", findings(analyzers.Warning), true},
		{"warning", findings(analyzers.Error), true},
		{"note", findings(analyzers.Note), true},
		{"never", findings(analyzers.Error), false},
	} {
		if got := failing(test.found, test.failOn); got != test.want {
			t.Errorf("--fail-on %s with %v: %v", test.failOn, test.found, got)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, test := range []struct{ typed, want string }{
		{"lnit", "lint"}, {"trase", "trace"}, {"TRACE", "trace"}, {"manifests", ""}, {"x", ""}, {"", ""}, {"reech", "reach"},
	} {
		if got := nearest(test.typed, []string{"lint", "trace", "reach", "explain"}); got != test.want {
			t.Errorf("%q: got %q, want %q", test.typed, got, test.want)
		}
	}
}

func TestParseFlow(t *testing.T) {
	for _, test := range []struct {
		line string
		want flow.Flow
		id   string // of the answer to a bad line
		err  string
	}{
		{line: `{"id":"c1","from":"a/b","host":"h","port":80,"scheme":"http","method":"HEAD","path":"/","headers":{"x-a":"b"},"sni":"","dst_ip":""}`,
			want: flow.Flow{ID: "c1", From: "a/b", Host: "h", Port: 80, Scheme: flow.HTTP, Method: "HEAD", Path: "/", Headers: map[string]string{"x-a": "b"}}},
		{line: `{"id":7,"from":"a/b","comment":{"any":"thing"},"connect_to":"a/s:1","bypass":true}`,
			want: flow.Flow{ID: "7", From: "a/b", ConnectTo: "a/s:1", Bypass: true}},
		{line: `{"id":"x","expect":{"outcome":"allowed"},"source":"doc","why":"w","istio":{}}`, want: flow.Flow{ID: "x"}},
		{line: `{"id":"x","dst-ip":"1.2.3.4"}`, id: "x", err: `unknown field "dst-ip"; did you mean "dst_ip"?`},
		{line: `{"id":"x","dstip":"1.2.3.4"}`, id: "x", err: `did you mean "dst_ip"?`},
		{line: `{"id":"x","Host":"h"}`, id: "x", err: `did you mean "host"?`},
		{line: `{"id":"x","hosts":"h"}`, id: "x", err: `did you mean "host"?`},
		{line: `{"id":"x","connectTo":"h"}`, id: "x", err: `did you mean "connect_to"?`},
		{line: `{"port":"80","id":"x"}`, id: "x", err: `field "port": a JSON string is not expected here`},
		{line: `{"id":"x","port":1.5}`, id: "x", err: `field "port"`},
		{line: `{"id":"x","headers":["a"]}`, id: "x", err: `field "headers"`},
		{line: `{"id":["x"],"port":"80"}`, err: `field "port"`},
		{line: `{"id":"x"} {"id":"y"}`, id: "x", err: "more than one value"},
		{line: `{"id":"x"} trailing`, id: "x", err: "more than one value"},
		{line: `{"id":"x"`, err: "ends too early"},
		{line: `[]`, err: "a JSON array is not expected"},
		{line: `null`, err: "null"},
		{line: `nonsense`, err: "invalid character"},
	} {
		got, answer := decodeFlow([]byte(test.line), nil)
		switch {
		case test.err == "" && answer != nil:
			t.Errorf("%s: %s", test.line, answer.Detail)
		case test.err == "" && !reflect.DeepEqual(got, test.want):
			t.Errorf("%s: got %+v, want %+v", test.line, got, test.want)
		case test.err != "" && answer == nil:
			t.Errorf("%s: is a flow, want %q", test.line, test.err)
		case test.err != "" && (answer.Reason != flow.BadFlow || answer.Outcome != flow.Unknown || answer.Via != flow.ViaNone || answer.ID != test.id || !strings.Contains(answer.Detail, test.err)):
			t.Errorf("%s: answer %+v, want id %q and %q", test.line, answer, test.id, test.err)
		}
	}
}

func TestLineReaderBoundsLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+1)
	fits := strings.Repeat("y", maxLine-1) + "\n"
	lines := lineReader{bufio.NewReaderSize(strings.NewReader("a\n"+long+"\n"+fits+"\nend"), 4096)}
	var got []string
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, fmt.Sprintf("%.3q %d", line, len(line)))
	}
	want := []string{`"a\n" 2`, errLongLine.Error(), fmt.Sprintf(`"yyy" %d`, maxLine), `"\n" 1`, `"end" 3`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// settings applies a configuration file to the flags of lint.
func settings(t *testing.T, name, content string, args ...string) (*lintFlags, error) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	f := &lintFlags{}
	cmd := (&Command{}).lintWith(f)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	_, _, err := applyConfig(cmd.Flags(), name)
	return f, err
}

func TestConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("values.yaml", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := settings(t, "c.yaml", `# settings
fail-on: warning
disable: [EGR301, unsteered-port]
enable: EGR202
namespace: shop
namespace-label:
  - shop:istio-injection=enabled
set: [profile=demo, "values.global.proxy.excludeIPRanges=10.0.0.0/8,10.1.0.0/16"]
allow-partial: true
assume-injected: yes
mesh-config: values.yaml
`, "--namespace", "cart", "--disable", "EGR302")
	if err != nil {
		t.Fatal(err)
	}
	want := &lintFlags{failOn: "warning", disable: []string{"EGR302"}, enable: []string{"EGR202"}, inputFlags: inputFlags{
		namespace: "cart", namespaceLabels: []string{"shop:istio-injection=enabled"}, allowPartial: true, assumeInjected: "yes", color: "auto",
		set: []string{"profile=demo", "values.global.proxy.excludeIPRanges=10.0.0.0/8,10.1.0.0/16"}, meshConfig: []string{"values.yaml"},
	}}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
}

func TestConfigurationErrorsNameThePlace(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(outside, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, "link.yaml"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ content, want string }{
		{"\nfail_on: error\n", `c.yaml:2:1: unknown setting "fail_on"; did you mean "fail-on"?`},
		{"nonsense: 1", `c.yaml:1:1: unknown setting "nonsense"; there are allow-partial`},
		{"a: b\nfail-on: x", `c.yaml:1:1: unknown setting "a"`},
		{"output: /tmp/x", `"output" is for the command line only (--output)`},
		{"config: /tmp/x", `"config" is for the command line only`},
		{"fail-on: error\nfail-on: never", `c.yaml:2:1: "fail-on" is set twice`},
		{"fail-on: [a, b]", `c.yaml:1:10: "fail-on" takes one value, no list`},
		{"fail-on: {a: b}", `c.yaml:1:10: "fail-on" takes words`},
		{"disable: [[a]]", `c.yaml:1:11: "disable" takes words`},
		{"namespace:", `"namespace" takes words`},
		{"allow-partial: perhaps", `c.yaml:1:16: "allow-partial" takes true or false, not "perhaps"`},
		{"verbose: \"true\"", `c.yaml:1:10: "verbose" takes true or false, not "true"`},
		{"namespace: 123", `c.yaml:1:12: "namespace" takes text: write "123" in quotes if it is meant`},
		{"fail-on: fatal", `c.yaml:1:10: "fail-on": "fatal": give one of error, warning, note, never`},
		{"disable: [EGR301, EGR999]", `c.yaml:1:19: "disable": there is no rule "EGR999"`},
		{"severity:\n- EGR301=fatal", `c.yaml:2:3: "severity": "EGR301=fatal": give error, warning or note`},
		{"set: profile", `c.yaml:1:6: "set": --set "profile" has no value`},
		{"mesh-config: none.yaml", `c.yaml:1:14: "mesh-config": "none.yaml": no such file or directory`},
		{"baseline: none/known.json", `c.yaml:1:11: "baseline": "none/known.json": no such file or directory`},
		{"- a", "c.yaml:1:1: the configuration is no mapping"},
		{"a: [", "configuration c.yaml: "},
		{"a: b\n---\nc: d", "more than one document"},
		{"mesh-config: ../x.yaml", "c.yaml:1:14: \"mesh-config\": \"../x.yaml\" lies outside the configuration's directory"},
		{"mesh-config: /etc/passwd", "lies outside the configuration's directory"},
		{"mesh-config: link.yaml", "leads outside the configuration's directory"},
		{strings.Repeat("# x\n", maxConfig/4+1), "larger than"},
	} {
		_, err := settings(t, "c.yaml", test.content)
		wantError(t, fmt.Sprintf("%.40q", test.content), err, test.want)
	}
	for _, empty := range []string{"", "# comments alone\n", "---\n", "null\n"} {
		_, err := settings(t, "c.yaml", empty)
		wantError(t, fmt.Sprintf("%q", empty), err, "")
	}
	if _, _, err := applyConfig((&Command{}).lint().Flags(), "missing.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a configuration that is given and missing: %v", err)
	}
	if err := os.Symlink(outside, defaultConfig); err != nil {
		t.Fatal(err)
	}
	_, _, err := applyConfig((&Command{}).lint().Flags(), "")
	wantError(t, "a default configuration that is a link", err, ".egresslint.yaml is a link or no file")
	if err := os.Remove(defaultConfig); err != nil {
		t.Fatal(err)
	}
	if name, _, err := applyConfig((&Command{}).lint().Flags(), ""); name != "" || err != nil {
		t.Errorf("no default configuration: %q, %v", name, err)
	}
}

func TestColored(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	type row struct {
		color, noColor, term string
		w                    io.Writer
		want                 bool
	}
	rows := []row{
		{"auto", "", "xterm", file, false}, {"auto", "", "xterm", io.Discard, false},
		{"always", "1", "dumb", file, true}, {"never", "", "xterm", file, false},
	}
	// The master side of a pseudo-terminal is a terminal to whoever asks.
	if terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil {
		defer func() { _ = terminal.Close() }()
		rows = append(rows, row{"auto", "", "xterm", terminal, true}, row{"auto", "1", "xterm", terminal, false},
			row{"auto", "", "dumb", terminal, false}, row{"never", "", "xterm", terminal, false})
	}
	for _, r := range rows {
		t.Setenv("NO_COLOR", r.noColor)
		t.Setenv("TERM", r.term)
		if got := colored(r.color, r.w); got != r.want {
			t.Errorf("--color %s, NO_COLOR=%q, TERM=%s, %T: %v", r.color, r.noColor, r.term, r.w, got)
		}
	}
}
