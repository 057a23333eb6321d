package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tidewatch/internal/strict"
	"tidewatch/outputs"
	"tidewatch/outputs/elastic"
)

func setupCommand(t terminal) *cobra.Command {
	c := &cobra.Command{
		Use:   "setup",
		Short: "Prepare the servers that findings are sent to and shown by, and what enriches them",
	}
	c.AddCommand(setupElasticsearchCommand(t), setupKibanaCommand(t), setupGeoCommand(t))
	return c
}

// geoText says where databases come from.
const geoText = `Findings say in which country and network an address is if [enrich] geo (or
analyze --geo) names databases in MaxMind's format:

  MaxMind GeoLite2     countries, cities, autonomous systems; free with an account
                       and a licence key, kept up to date by MaxMind's geoipupdate
  DB-IP Lite           countries, cities, autonomous systems; CC BY 4.0, monthly
  ip-location-db       countries from the registries' own records; CC0, as packages
                       of the npm registry:

    npm pack @ip-location-db/geo-whois-asn-country-mmdb
    tar -xzf ip-location-db-geo-whois-asn-country-mmdb-*.tgz
    install -m 0644 package/*.mmdb /etc/tidewatch/geo/

Then, in /etc/tidewatch/tidewatch.toml:

  [enrich]
  geo = ["/etc/tidewatch/geo/geo-whois-asn-country.mmdb"]

Of several databases each fills in what those before it do not know. A file that is
replaced is read again within seconds; one that cannot be read changes nothing.
`

func setupGeoCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "geo",
		Short: "Say where databases of countries and networks come from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := io.WriteString(t.out, geoText); err != nil {
				return exit{exitError, err}
			}
			return nil
		},
	}
}

// setupFlags are the flags of setup elasticsearch, as they are written.
type setupFlags struct {
	cfg                 elastic.Config
	o                   elastic.Options
	role, print, delete bool
	keyName             string // of an API key that is wanted
}

func setupElasticsearchCommand(t terminal) *cobra.Command {
	f := setupFlags{cfg: elastic.Default()}
	c := &cobra.Command{
		Use:   "elasticsearch",
		Short: "Make the templates of the data streams, and the role that may write to them",
		Long: `Make what findings need in Elasticsearch or OpenSearch: templates with the types of
all fields for the data streams logs-tidewatch.*. It says what it changed, and may be
run again at any time, as after an upgrade.

The password of --username is read from the environment variable
TIDEWATCH_SETUP_PASSWORD; instead of both, TIDEWATCH_SETUP_API_KEY may hold an API key.`,
		Example: `  TIDEWATCH_SETUP_PASSWORD=… tidewatch setup elasticsearch -a https://es:9200 -u elastic --ca-file ca.crt --role
  tidewatch setup elasticsearch --print`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, t) },
	}
	p := c.Flags()
	p.StringSliceVarP(&f.cfg.Addresses, "address", "a", f.cfg.Addresses, "URLs of nodes")
	p.StringVar(&f.cfg.Flavor, "flavor", f.cfg.Flavor, `what the servers are: "elasticsearch" or "opensearch"`)
	p.StringVarP(&f.cfg.Username, "username", "u", "", "user who may manage templates, and with --role and --api-key security")
	p.StringVar(&f.cfg.CAFile, "ca-file", "", "certificates, in PEM, of which one has signed the server's")
	p.StringVar(&f.cfg.CAFingerprint, "ca-fingerprint", "", "SHA-256 of a certificate that the server must present")
	p.StringVar(&f.cfg.Proxy, "proxy", "", `URL of a proxy, or "none"`)
	p.StringVar(&f.o.Retention, "retention", "", `delete documents that are older, such as "90d" (Elasticsearch)`)
	p.IntVar(&f.o.Shards, "shards", 0, "primary shards of an index; 0 for the server's default")
	p.IntVar(&f.o.Replicas, "replicas", -1, "copies of each shard; -1 for the server's default")
	p.BoolVar(&f.o.FailureStore, "failure-store", false, "let the server keep documents that do not fit (Elasticsearch 8.19 and later)")
	p.BoolVar(&f.role, "role", false, "make the role tidewatch_writer too (Elasticsearch)")
	p.StringVar(&f.keyName, "api-key", "", "make an API key of this name that may write, and print it (Elasticsearch)")
	p.BoolVar(&f.print, "print", false, "print the requests instead of sending them")
	p.BoolVar(&f.delete, "delete", false, "take back what setup made; data streams and their documents stay")
	return c
}

func (f *setupFlags) run(c *cobra.Command, t terminal) error {
	f.cfg.Password = strict.NewSecret(os.Getenv("TIDEWATCH_SETUP_PASSWORD"))
	f.cfg.APIKey = strict.NewSecret(os.Getenv("TIDEWATCH_SETUP_API_KEY"))
	if f.o.Retention != "" && !retentionForm(f.o.Retention) {
		return exit{exitUsage, fmt.Errorf("--retention %q: a number and a unit: h or d", f.o.Retention)}
	}
	if f.print && f.delete {
		return exit{exitUsage, errors.New("--print or --delete")}
	}
	if err := f.cfg.Validate(); err != nil {
		return exit{exitUsage, err}
	}
	if f.print {
		_, err := fmt.Fprint(t.out, elastic.Print(&f.cfg, &f.o))
		return err
	}
	var changes []elastic.Change
	var err error
	if f.delete {
		changes, err = elastic.Delete(c.Context(), &f.cfg)
	} else {
		changes, err = elastic.Setup(c.Context(), &f.cfg, &f.o, f.role)
	}
	for _, ch := range changes {
		fmt.Fprintln(t.out, outputs.Printable(ch.String()))
	}
	if err != nil {
		return exit{exitError, err}
	}
	if f.keyName == "" || f.delete {
		return nil
	}
	key, err := elastic.APIKey(c.Context(), &f.cfg, f.keyName)
	if err != nil {
		return exit{exitError, fmt.Errorf("API key: %w", err)}
	}
	// It is shown once, on standard output, for the configuration's secret file.
	_, err = fmt.Fprintf(t.out, "created    API key %s, for api_key of the configuration; it is not shown again:\n%s\n", outputs.Printable(f.keyName), outputs.Printable(key))
	return err
}

// retentionForm reports whether s is a number with a unit that the server knows.
func retentionForm(s string) bool {
	digits := strings.TrimRight(s, "dh")
	return len(s) == len(digits)+1 && len(digits) > 0 && len(digits) < 6 && digits[0] != '0' &&
		!slices.ContainsFunc([]byte(digits), func(c byte) bool { return c < '0' || c > '9' })
}
