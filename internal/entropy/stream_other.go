//go:build !amd64

package entropy

func codePair(a, b *stream, code *[256]entry) { codeGroups(a, b, code) }
