package bus

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// doors are the options by which one gets in: who one is, and how the server proves what it is. Files are read here, so
// that what is wrong with them is said at once, and again at each connection: they may be renewed meanwhile.
func (o Options) doors() (options []nats.Option, err error) {
	switch {
	case o.NATSUser != "":
		if _, err := o.password(); err != nil {
			return nil, err
		}
		options = append(options, nats.UserInfoHandler(func() (string, string) {
			password, err := o.password()
			if err != nil && o.Log != nil {
				o.Log.Warn("the password for NATS can't be read", "error", err)
			}
			return o.NATSUser, password
		}))
	case o.NATSCreds != "":
		if _, err := o.claims(); err != nil {
			return nil, err
		}
		options = append(options, nats.UserCredentials(o.NATSCreds))
	case o.NATSNKey != "":
		option, err := nkey(o.NATSNKey)
		if err != nil {
			return nil, err
		}
		options = append(options, option)
	}
	if o.NATSCA == "" && o.NATSCert == "" && o.NATSServerName == "" {
		return options, nil
	}
	options = append(options, nats.Secure(&tls.Config{ServerName: o.NATSServerName, MinVersion: tls.VersionTLS12}))
	if o.NATSCA != "" {
		pem, err := os.ReadFile(o.NATSCA)
		if err != nil {
			return nil, fmt.Errorf("--nats-ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--nats-ca: %s has no certificate", o.NATSCA)
		}
		options = append(options, nats.RootCAs(o.NATSCA))
	}
	if o.NATSCert != "" {
		if _, err := tls.LoadX509KeyPair(o.NATSCert, o.NATSKey); err != nil {
			return nil, fmt.Errorf("--nats-cert, --nats-key: %w", err)
		}
		options = append(options, nats.ClientCert(o.NATSCert, o.NATSKey))
	}
	return options, nil
}

// password is the user's, from the file where there is one.
func (o Options) password() (string, error) {
	if o.NATSPassFile == "" {
		return o.NATSPassword, nil
	}
	text, err := os.ReadFile(o.NATSPassFile)
	if err != nil {
		return "", fmt.Errorf("--nats-password-file: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if line = bytes.TrimRight(line, "\r"); len(line) == 0 {
		return "", fmt.Errorf("--nats-password-file: %s has no password in its first line", o.NATSPassFile)
	}
	return string(line), nil
}

// nkey is the option for a file with a seed. The library's errors could tell of its content.
func nkey(path string) (nats.Option, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--nats-nkey: %w", err)
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, fmt.Errorf("--nats-nkey: %s has no seed of a user's NKey", path)
	}
	pair.Wipe()
	return nats.NkeyOptionFromSeed(path)
}

// claims are what a credentials file says of its user.
func (o Options) claims() (*jwt.UserClaims, error) {
	text, err := os.ReadFile(o.NATSCreds)
	if err != nil {
		return nil, fmt.Errorf("--nats-creds: %w", err)
	}
	token, tokenErr := jwt.ParseDecoratedJWT(text)
	claims, claimsErr := jwt.DecodeUserClaims(token)
	pair, pairErr := jwt.ParseDecoratedUserNKey(text)
	if errors.Join(tokenErr, claimsErr, pairErr) != nil { // whose text may have parts of the secret
		return nil, fmt.Errorf("--nats-creds: %s is no NATS credentials file", o.NATSCreds)
	}
	pair.Wipe()
	return claims, nil
}

// expired says that the credentials' time is over, where it is: the server only says that it refuses them.
func (o Options) expired(now time.Time) error {
	if o.NATSCreds == "" {
		return nil
	}
	claims, err := o.claims()
	if err != nil || claims.Expires == 0 || now.Unix() < claims.Expires {
		return nil
	}
	return fmt.Errorf("%w: the credentials in %s expired at %s", nats.ErrAuthExpired, o.NATSCreds, time.Unix(claims.Expires, 0).UTC().Format(time.RFC3339))
}

// distrusted reports whether one end does not trust the other's certificate: the server's is not one to be trusted, or
// the server wants another of ours, or one at all.
func distrusted(err error) bool {
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" { // an alert, as crypto/tls has it
		return true
	}
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}
