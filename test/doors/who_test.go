package doors_test

import (
	"errors"
	"os"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// way is how one shows who one is.
type way string

const (
	byPassword way = "--nats-password-file"
	byNKey     way = "--nats-nkey"
	byCreds    way = "--nats-creds"
)

// pair makes a pair of keys.
func pair(t *testing.T, kind nkeys.PrefixByte) (p nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	p, err := nkeys.CreatePair(kind)
	if err != nil {
		t.Fatal(err)
	}
	public, err1 := p.PublicKey()
	seed, err2 := p.Seed()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return p, public, seed
}

// identify gives the users of a configuration another way than passwords, and the files for it in the place of theirs.
func (b *broker) identify(opts *server.Options) {
	b.t.Helper()
	users := opts.Users
	var sign func(u *server.User, public string, seed []byte) []byte
	switch b.way {
	case byNKey:
		sign = func(u *server.User, public string, seed []byte) []byte {
			opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: public, Permissions: u.Permissions})
			return seed
		}
	case byCreds:
		sign = b.account(opts)
	default:
		return
	}
	opts.Users = nil
	for _, u := range users {
		_, public, seed := pair(b.t, nkeys.PrefixByteUser)
		if err := os.WriteFile(b.file(u.Username), sign(u, public, seed), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// account makes a server one with an operator and an account of his. The returned function makes a user's credentials.
func (b *broker) account(opts *server.Options) func(u *server.User, public string, seed []byte) []byte {
	b.t.Helper()
	operator, operatorKey, _ := pair(b.t, nkeys.PrefixByteOperator)
	account, accountKey, _ := pair(b.t, nkeys.PrefixByteAccount)
	_, system, _ := pair(b.t, nkeys.PrefixByteAccount) // JetStream is a service of it
	resolver := &server.MemAccResolver{}
	for key, limits := range map[string]jwt.JetStreamLimits{accountKey: {MemoryStorage: opts.JetStreamMaxMemory, Streams: -1, Consumer: -1}, system: {}} {
		claims := jwt.NewAccountClaims(key)
		claims.Limits.JetStreamLimits = limits
		token, err := claims.Encode(operator)
		if err := errors.Join(err, resolver.Store(key, token)); err != nil {
			b.t.Fatal(err)
		}
	}
	opts.TrustedKeys, opts.AccountResolver, opts.SystemAccount = []string{operatorKey}, resolver, system
	return func(u *server.User, public string, seed []byte) []byte {
		b.t.Helper()
		claims := jwt.NewUserClaims(public)
		claims.Pub.Allow.Add(u.Permissions.Publish.Allow...)
		claims.Sub.Allow.Add(u.Permissions.Subscribe.Allow...)
		token, err := claims.Encode(account)
		if err != nil {
			b.t.Fatal(err)
		}
		text, err := jwt.FormatUserConfig(token, seed)
		if err != nil {
			b.t.Fatal(err)
		}
		return text
	}
}
