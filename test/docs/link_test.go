// Package docs_test holds what docs/ shows against the types that the programs use.
package docs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/sluicedaq/sluice/internal/link"
)

// TestLinkExamples decodes each JSON example of docs/link.md into the type that it is of: it has no field that the type
// does not know, and the types of the values are right.
func TestLinkExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/link.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]func() any{
		"Join": func() any { return &link.Join{} }, "Welcome": func() any { return &link.Welcome{} },
		"Health": func() any { return &link.Health{} }, "Armed": func() any { return &link.Armed{} },
		"Ready": func() any { return &link.Ready{} }, "End": func() any { return &link.End{} },
		"Finish": func() any { return &link.Finish{} }, "Finished": func() any { return &link.Finished{} },
		"Closed": func() any { return &link.Closed{} }, "Failed": func() any { return &link.Failed{} },
	}
	shown := map[string]int{}
	for _, m := range regexp.MustCompile("(?s)<!-- example: (\\w+) -->\n```json\n(.*?)```").FindAllSubmatch(text, -1) {
		name := string(m[1])
		shown[name]++
		if kinds[name] == nil {
			t.Errorf("there is no message %s", name)
			continue
		}
		v := kinds[name]()
		d := json.NewDecoder(bytes.NewReader(m[2]))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			t.Errorf("%s: %v\n%s", name, err, m[2])
		}
	}
	for name := range kinds {
		if shown[name] == 0 {
			t.Errorf("no example of %s", name)
		}
	}
	if n := bytes.Count(text, []byte("```json")); n != sum(shown) {
		t.Errorf("%d JSON blocks, %d of them named", n, sum(shown))
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
