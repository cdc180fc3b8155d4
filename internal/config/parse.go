package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicedaq/sluice/internal/exit"
)

// Program says what is to be parsed.
type Program struct {
	Name        string // as in the help and in error lines
	Description string
	// CLI points to the struct to fill: one of this package's, or a kong grammar with commands.
	CLI    any
	Args   []string // without the program's own name
	Getenv func(string) string
	Stdout io.Writer // for the help and the version
}

// Parse fills p.CLI from flags, SLUICE_… variables, the configuration file and the defaults, in this order of
// precedence, and returns the chosen command ("run", empty where there are none). Bad input gives an
// *exit.Error with code 2 and one line that names the option and where it came from. After --help or
// --version the error wraps ErrPrinted with exit code 0.
func Parse(p Program) (command string, err error) {
	for _, arg := range p.Args {
		if name, _, _ := strings.Cut(arg, "="); name == "--nats-password" {
			return "", exit.Errorf(exit.Usage, "--nats-password: everybody can read a command line: use --nats-password-file FILE or the variable %s", EnvName("nats-password"))
		}
	}
	printed := false
	origins := &resolver{getenv: p.Getenv, from: map[string]string{}}
	options := append(kongOptions(),
		kong.Name(p.Name), kong.Description(p.Description), kong.Writers(p.Stdout, io.Discard),
		kong.Exit(func(int) { printed = true }), kong.Resolvers(origins),
		kong.Help(func(o kong.HelpOptions, ctx *kong.Context) error {
			if printed {
				return nil
			}
			return kong.DefaultHelpPrinter(o, ctx)
		}))
	parser, err := kong.New(p.CLI, options...)
	if err != nil {
		return "", fmt.Errorf("building the parser of %s: %w", p.Name, err)
	}
	ctx, err := parser.Parse(p.Args)
	if err == nil && !printed {
		err = checkVariables(parser.Model, p.Getenv)
	}
	switch {
	case printed:
		return "", &exit.Error{Code: exit.OK, Err: ErrPrinted}
	case err != nil:
		return "", &exit.Error{Code: exit.Usage, Err: origins.explain(err)}
	}
	return strings.TrimSpace(ctx.Command()), nil
}

// kongOptions are the options of every parser, also of those that only look at the flags.
func kongOptions() []kong.Option {
	return []kong.Option{
		kong.Vars{"version": Software()},
		kong.ConfigureHelp(kong.HelpOptions{NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.ValueFormatter(func(v *kong.Value) string {
			if v.Flag == nil || v.Name == "help" || v.Name == "version" {
				return v.Help
			}
			return v.Help + " [$" + EnvName(v.Name) + "]"
		}),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)),
	}
}

// decodeDuration reads a time such as 2s. Every time that can be configured must be more than zero.
func decodeDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %q is not a time: want a number and a unit, such as 2s, 500ms or 1h", ErrValue, text)
	case d <= 0:
		return fmt.Errorf("%w: the time %q must be more than zero", ErrValue, text)
	}
	target.SetInt(int64(d))
	return nil
}

// EnvName is the environment variable of a flag.
func EnvName(flag string) string {
	return "SLUICE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// resolver looks an option up in the environment, then in the configuration file.
type resolver struct {
	getenv func(string) string
	path   string
	values map[string]fileValue
	loaded bool
	// from says where each option that was found came from.
	from map[string]string
}

var _ kong.Resolver = (*resolver)(nil)

// Validate implements kong.Resolver. The file was checked when it was read.
func (r *resolver) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (r *resolver) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !r.loaded {
		r.loaded = true
		if err := r.load(ctx); err != nil {
			return nil, err
		}
	}
	if flag.Name == "help" || flag.Name == "version" {
		return nil, nil
	}
	if v := r.getenv(EnvName(flag.Name)); v != "" {
		r.from[flag.Name] = EnvName(flag.Name)
		return v, nil
	}
	if v, ok := r.values[flag.Name]; ok {
		r.from[flag.Name] = fmt.Sprintf("%s:%d", r.path, v.line)
		return v.value, nil
	}
	return nil, nil
}

// load reads the configuration file, where one is named.
func (r *resolver) load(ctx *kong.Context) error {
	for _, flag := range ctx.Flags() {
		if flag.Name == "config" {
			r.path, _ = ctx.FlagValue(flag).(string)
		}
	}
	if r.path == "" {
		r.path = r.getenv(EnvName("config"))
	}
	if r.path == "" {
		return nil
	}
	var err error
	r.values, err = readFile(r.path)
	return err
}

// explain makes one clear line of a parser's error, and adds where the option came from unless it was a flag.
func (r *resolver) explain(err error) error {
	// The parser puts the name of the flag before a file's error that it happened to look up first.
	var fe *fileError
	if errors.As(err, &fe) {
		return fe
	}
	text := strings.ReplaceAll(err.Error(), ErrValue.Error()+": ", "")
	text = strings.Join(strings.Fields(text), " ")
	// The parser takes a negative number for a flag, and says so in its own words.
	text = regexp.MustCompile(`expected .* but got ("-[^"]*") \(.* flag\);.*$`).ReplaceAllString(text, "$1 begins with a dash: want a value, and none of less than zero")
	text = regexp.MustCompile(`expected .* but got "EOL".*$`).ReplaceAllString(text, "its value is missing")
	if m := regexp.MustCompile(`^--([a-z-]+)\b`).FindStringSubmatch(text); len(m) == 2 && r.from[m[1]] != "" {
		text += " (from " + r.from[m[1]] + ")"
	}
	return &lineError{text: text, err: err}
}

// lineError is an error whose text was tidied up for people.
type lineError struct {
	text string
	err  error
}

// Error is the tidied text.
func (e *lineError) Error() string { return e.text }

// Unwrap returns the original.
func (e *lineError) Unwrap() error { return e.err }
