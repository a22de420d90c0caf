package reach_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"istio.io/istio/pkg/config/host"

	"math/rand/v2"

	"github.com/egresslint/egresslint/model/reach"
)

// A name that no manifest names fares like the universe's "any unregistered
// name", with whatever dots and case.
func TestAnyNameStandsForNamesThatNoManifestNames(t *testing.T) {
	random := seeded(t)
	var samples []string
	for range 2 {
		samples = append(samples,
			letters(random, 5)+"."+letters(random, 7)+".test",
			letters(random, 3)+"."+letters(random, 4)+"-"+letters(random, 2)+"."+letters(random, 4)+".example",
			letters(random, 9)+".museum")
	}
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		asked := 0
		for _, name := range samples {
			if namedInside(r, name) {
				continue
			}
			asked++
			standsFor(t, r, reach.AnyName, name)
		}
		if asked == 0 && !namedInside(r, "unregistered.egresslint.invalid") {
			t.Error("each random name is inside a wildcard, the one that stands for them is not")
		}
	})
}

// namedInside reports whether a name is inside a wildcard of the manifests.
func namedInside(r *reach.Reach, name string) bool {
	for _, d := range r.Universe() {
		if strings.Contains(d.Stands, "*") && host.Name(name).SubsetOf(host.Name(d.Stands)) {
			return true
		}
	}
	return false
}

// standsFor compares what becomes of a host with what the destinations that
// stand for it say.
func standsFor(t *testing.T, r *reach.Reach, stands, name string) {
	t.Helper()
	found := false
	for _, class := range r.Classes() {
		for _, d := range r.Universe() {
			if d.Stands != stands {
				continue
			}
			found = true
			want := r.Answers(class[0], d)
			got := r.Answers(class[0], reach.Destination{Host: name, Port: d.Port})
			// Conditions may name the host itself.
			if w, g := strings.ReplaceAll(jsonText(want), d.Host, name), jsonText(got); w != g {
				t.Errorf("%s asks for %s:%d\n\t%s: %s\n\tit: %s", class[0].ID(), name, d.Port, stands, w, g)
			}
		}
	}
	if !found && len(r.Classes()) > 0 {
		t.Errorf("nothing in the universe stands for %q", stands)
	}
}

// A public address that no manifest lists fares like the universe's "any
// address".
func TestAnyAddressStandsForAddressesThatNoManifestLists(t *testing.T) {
	random := seeded(t)
	var samples []netip.Addr
	for len(samples) < 4 {
		if a := publicAddress(random); a.IsValid() {
			samples = append(samples, a)
		}
	}
	for _, name := range meshNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(meshRoot, name, "manifests")
			r := loadMesh(t, dir, flagsOf(t, name))
			blocks := addressesIn(t, dir)
			for _, a := range samples {
				listed := false
				for _, b := range blocks {
					// A block of everything else is no list.
					listed = listed || b.Bits() > 0 && b.Contains(a)
				}
				if !listed {
					standsFor(t, r, reach.AnyAddress, a.String())
				}
			}
		})
	}
}

// publicAddress returns a random public IPv4 address, or none.
func publicAddress(random *rand.Rand) netip.Addr {
	a := netip.AddrFrom4([4]byte{byte(1 + random.IntN(222)), byte(random.IntN(256)), byte(random.IntN(256)), byte(1 + random.IntN(254))})
	for _, special := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	} {
		if netip.MustParsePrefix(special).Contains(a) {
			return netip.Addr{}
		}
	}
	return a
}

var addressText = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+(/\d+)?`)

// addressesIn returns the addresses and blocks in the text of manifests.
func addressesIn(t *testing.T, dir string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range addressText.FindAllString(string(text), -1) {
			if !strings.Contains(s, "/") {
				s += "/32"
			}
			if p, err := netip.ParsePrefix(s); err == nil {
				out = append(out, p)
			}
		}
	}
	return out
}
