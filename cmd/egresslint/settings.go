package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model"
)

// defaultConfig is read from the working directory.
const defaultConfig = ".egresslint.yaml"

// maxConfig bounds a configuration file, which may come from a stranger's pull
// request.
const maxConfig = 1 << 20

// configKeys are the flags that a configuration file may set, under the same
// names. What selects a question, writes a file or names the configuration
// itself is for the command line only: the file may be a stranger's.
var configKeys = []string{
	"allow-partial", "assume-injected", "baseline", "color", "disable", "enable", "fail-on",
	"mesh-config", "namespace", "namespace-label", "set", "severity", "show-suppressed", "verbose",
}

// applyConfig sets flags that the command line leaves open from the given
// configuration file, or from the default one if that exists. It returns the
// name of the file that was read and what it sets, as "fail-on: warning".
func applyConfig(flags *pflag.FlagSet, name string) (file string, set []string, err error) {
	given := name != ""
	if !given {
		name = defaultConfig
	}
	content, err := readConfig(name, given)
	if !given && errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("configuration: %w", err)
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return name, nil, nil // empty, or comments alone
	} else if err != nil {
		return "", nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return "", nil, fmt.Errorf("configuration %s: more than one document; keep one", name)
	}
	set, err = applySettings(flags, name, document.Content[0])
	return name, set, err
}

// readConfig reads a configuration file. One that nobody named must be a file of
// its own: a link could lead a stranger's configuration to any file, and what is
// wrong with that would be printed.
func readConfig(name string, given bool) ([]byte, error) {
	if info, err := os.Lstat(name); err == nil && !given && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a link or no file; name it with --config if it is meant", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err == nil && len(content) > maxConfig {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxConfig)
	}
	return content, err
}

func applySettings(flags *pflag.FlagSet, file string, root *yaml.Node) (set []string, err error) {
	at := func(n *yaml.Node, format string, args ...any) ([]string, error) {
		return nil, fmt.Errorf("%s:%d:%d: %s", file, n.Line, n.Column, fmt.Sprintf(format, args...))
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return at(root, "the configuration is no mapping; write settings as \"fail-on: warning\"")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if !slices.Contains(configKeys, key.Value) {
			return at(key, "%s", unknownSetting(flags, key.Value))
		}
		if seen[key.Value] {
			return at(key, "%q is set twice; keep one", key.Value)
		}
		seen[key.Value] = true
		flag := flags.Lookup(key.Value)
		if flag == nil {
			continue // another command's setting
		}
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			values = value.Content
			if !strings.HasPrefix(flag.Value.Type(), "string") || flag.Value.Type() == "string" {
				return at(value, "%q takes one value, no list", key.Value)
			}
		}
		given := flag.Changed // on the command line, which wins
		for _, v := range values {
			text, err := settingOf(flag, file, v)
			if err == nil && !given {
				err = flag.Value.Set(text)
			}
			if err != nil {
				return at(v, "%q%v", key.Value, err)
			}
		}
		if !given {
			set = append(set, key.Value+": "+wordsOf(values))
		}
	}
	return set, nil
}

// settingOf returns a value of the configuration as its flag takes it. What the
// published schema refuses is refused here. An error goes on from the name of the
// setting.
func settingOf(flag *pflag.Flag, file string, v *yaml.Node) (string, error) {
	isBool := flag.Value.Type() == "bool"
	switch {
	case v.Kind != yaml.ScalarNode || v.Tag == "!!null":
		return "", errors.New(" takes words or a list of words")
	case isBool && v.Tag != "!!bool":
		return "", fmt.Errorf(" takes true or false, not %q", v.Value)
	case !isBool && v.Tag != "!!str":
		return "", fmt.Errorf(" takes text: write %q in quotes if it is meant", v.Value)
	}
	text, err := v.Value, checkSetting(flag, v.Value)
	if flag.Name == "mesh-config" || flag.Name == "baseline" {
		text, err = besides(flag.Name, file, v.Value)
	}
	if err != nil {
		return "", fmt.Errorf(": %w", err)
	}
	return text, nil
}

// checkSetting says what is wrong with a value. Flags of the command line are
// checked by those who use them; here the place of the value is known.
func checkSetting(flag *pflag.Flag, text string) (err error) {
	switch flag.Name {
	case "enable", "disable":
		_, err = rulesOf(splitWords(text))
	case "severity":
		err = gradeConfig(&analyzers.Config{}, splitWords(text))
	case "namespace":
		err = checkNamespace(text)
	case "namespace-label":
		_, err = parseNamespaceLabels([]string{text})
	case "set":
		err = model.CheckSet(text)
	default:
		if name, _ := pflag.UnquoteUsage(flag); strings.Contains(name, "|") {
			err = oneOf(text, strings.Split(name, "|")...)
		}
	}
	return err
}

// splitWords splits a list as flags take it, "EGR301, EGR302". Empty words are none.
func splitWords(lists ...string) []string {
	var words []string
	for _, list := range lists {
		for word := range strings.SplitSeq(list, ",") {
			if word = strings.TrimSpace(word); word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// wordsOf joins the values of a setting.
func wordsOf(values []*yaml.Node) string {
	var words []string
	for _, v := range values {
		words = append(words, v.Value)
	}
	return strings.Join(words, ", ")
}

// unknownSetting says what is wrong with a key.
func unknownSetting(flags *pflag.FlagSet, key string) string {
	if flags.Lookup(key) != nil {
		return fmt.Sprintf("%q is for the command line only (--%s)", key, key)
	}
	if near := nearest(key, configKeys); near != "" {
		return fmt.Sprintf("unknown setting %q; did you mean %q?", key, near)
	}
	return fmt.Sprintf("unknown setting %q; there are %s", key, strings.Join(configKeys, ", "))
}

// besides resolves a file that a configuration names, relative to the
// configuration. It must lie there or below: what a stranger's configuration
// names is not read from elsewhere. A baseline may be still to be written.
func besides(flag, config, name string) (string, error) {
	if name == "" {
		return "", errors.New("no file is named")
	}
	dir := filepath.Dir(config)
	path := filepath.Join(dir, filepath.FromSlash(name))
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", fmt.Errorf("%q lies outside the configuration's directory; give it with --%s", name, flag)
	}
	realDir, err := realPath(dir)
	if err != nil {
		return "", err
	}
	real, err := realPath(path)
	if errors.Is(err, fs.ErrNotExist) && flag == "baseline" {
		var in string
		if in, err = realPath(filepath.Dir(path)); err == nil {
			real = filepath.Join(in, filepath.Base(path))
		}
	}
	if err != nil {
		return "", fmt.Errorf("%q: %w", name, withoutPath(err))
	}
	if rel, err := filepath.Rel(realDir, real); err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%q leads outside the configuration's directory; give it with --%s", name, flag)
	}
	return path, nil
}

// withoutPath takes the absolute path out of an error of the file system.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// realPath returns the absolute path of a file with all links resolved.
func realPath(name string) (string, error) {
	absolute, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}
