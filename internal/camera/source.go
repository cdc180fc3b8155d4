package camera

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The schemes of source URIs.
const (
	SchemeSim   = "sim"
	SchemeFile  = "file"
	SchemeV4L2  = "v4l2"
	SchemeVideo = "video"
)

var schemes = []string{SchemeSim, SchemeFile, SchemeV4L2, SchemeVideo}

// Source is a source URI taken apart. Its keys are read by [Source.Keys].
type Source struct {
	Scheme string
	// Path is the file, device or URL; empty for sim.
	Path  string
	pairs []pair
}

type pair struct{ key, value string }

// ParseSource takes a URI apart. It checks what all schemes share; [Source.Keys] checks the keys. The error
// wraps [ErrSource] and shows no password.
func ParseSource(uri string) (Source, error) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return Source{}, fmt.Errorf("%w %q: no scheme: want %s", ErrSource, Redact(uri), examples)
	}
	if !slices.Contains(schemes, scheme) {
		return Source{}, fmt.Errorf("%w: unknown scheme %q: want %s", ErrSource, scheme, examples)
	}
	s := Source{Scheme: scheme, Path: rest}
	if scheme == SchemeVideo {
		if !strings.Contains(rest, "://") {
			return Source{}, fmt.Errorf("%w %q: no URL after video: : want for example video:rtsp://host/stream", ErrSource, Redact(uri))
		}
		return s, nil
	}
	query := ""
	if i := strings.LastIndexByte(rest, '?'); i >= 0 {
		s.Path, query = rest[:i], rest[i+1:]
	}
	switch {
	case scheme == SchemeSim && s.Path != "":
		return Source{}, fmt.Errorf("%w sim: it has no path, but %q follows the colon: want sim:?key=value&…", ErrSource, s.Path)
	case scheme != SchemeSim && s.Path == "":
		return Source{}, fmt.Errorf("%w %s: no path: want %s", ErrSource, scheme, examples)
	}
	var err error
	if s.pairs, err = parsePairs(query); err != nil {
		return Source{}, fmt.Errorf("%w %s: %w", ErrSource, scheme, err)
	}
	return s, nil
}

const examples = "sim:?width=512&fps=100, file:PATH, v4l2:/dev/video0 or video:URL"

func parsePairs(query string) ([]pair, error) {
	var pairs []pair
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, fmt.Errorf("key %q: bad percent-encoding", k)
		}
		if !ok || v == "" {
			return nil, fmt.Errorf("key %q has no value: want %s=VALUE", key, key)
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: bad percent-encoding", key, v)
		}
		if slices.ContainsFunc(pairs, func(p pair) bool { return p.key == key }) {
			return nil, fmt.Errorf("key %q stands twice", key)
		}
		pairs = append(pairs, pair{key, value})
	}
	return pairs, nil
}

// Redact returns uri with the passwords and tokens replaced that URLs carry in their authority or in keys such
// as password= and token=. It works on anything that looks like one, a valid URI or not.
func Redact(uri string) string {
	const mask = "xxxxx"
	head, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	before, query, hasQuery := strings.Cut(rest, "?")
	// A password may itself have a "/" or an "@" in it, so everything up to the last "@" is taken for the user.
	if i := strings.LastIndexByte(before, '@'); i >= 0 {
		if user, _, ok := strings.Cut(before[:i], ":"); ok {
			before = user + ":" + mask + before[i:]
		}
	}
	if hasQuery {
		// The "@" of a password with a "?" in it.
		if i := strings.LastIndexByte(query, '@'); i >= 0 && !strings.Contains(before, "@") {
			if user, _, ok := strings.Cut(before, ":"); ok {
				return head + "://" + user + ":" + mask + query[i:]
			}
		}
		parts := strings.Split(query, "&")
		for i, p := range parts {
			if k, _, ok := strings.Cut(p, "="); ok && secretKey(k) {
				parts[i] = k + "=" + mask
			}
		}
		before += "?" + strings.Join(parts, "&")
	}
	return head + "://" + before
}

func secretKey(k string) bool {
	k = strings.ToLower(k)
	for _, word := range []string{"pass", "pwd", "token", "secret", "auth", "key", "sig", "cred"} {
		if strings.Contains(k, word) {
			return true
		}
	}
	return false
}
