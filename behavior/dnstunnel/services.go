package dnstunnel

import (
	"slices"
	"strings"
)

// services are domains whose owners put data into names by design, or make up a name
// for each measurement: block lists and reputations, which are asked for addresses and
// hashes of files; caches and players; measurements of networks. Whoever tunnels owns
// the domain that he tunnels to, so that nothing is lost with them. Sorted.
var services = []string{
	"abuseat.org",              // Composite Blocking List
	"akahelp.net",              // Akamai, measures resolvers
	"akamai.net",               // caches
	"akamaiedge.net",           // caches
	"akamaihd.net",             // caches
	"akamaized.net",            // caches
	"apnic.net",                // measures IPv6 and DNSSEC
	"avast.com",                // reputation
	"barracudabrts.com",        // reputation of senders
	"barracudacentral.org",     // block list
	"bitdefender.net",          // reputation
	"brightcloud.com",          // reputation of addresses, Webroot
	"cedexis-radar.net",        // measures networks
	"cloudmark.com",            // reputation of mail
	"cymru.com",                // origins of addresses, hashes of malware
	"dnsbl.info",               // block lists
	"dnswl.org",                // list of good senders
	"dotnxdomain.net",          // APNIC's measurements in advertisements
	"e5.sk",                    // reputation of files, ESET
	"eset.com",                 // reputation
	"eset.systems",             // reputation
	"f-secure.com",             // reputation
	"fastly-insights.com",      // measures networks
	"footprintdns.com",         // Microsoft, measures its front doors
	"fsapi.com",                // reputation, F-Secure
	"googlevideo.com",          // caches
	"gstatic.com",              // Google, measures networks
	"gvt1.com",                 // Google's downloads
	"habeas.com",               // list of good senders
	"ironport.com",             // reputation of senders, Cisco
	"kaspersky-labs.com",       // reputation
	"mailspike.net",            // reputation of senders
	"manitu.net",               // NiX Spam
	"mcafee.com",               // reputation of files: avqs, avts
	"mcafeegti.com",            // reputation of files
	"messagelabs.com",          // reputation of senders
	"msedge.net",               // Microsoft's front doors
	"nflxvideo.net",            // caches
	"njabl.org",                // block list
	"rackcdn.com",              // caches
	"root-servers.org",         // measures
	"senderbase.org",           // reputation of senders, Cisco
	"senderscore.com",          // reputation of senders
	"sophosxl.com",             // reputation of files and addresses
	"sophosxl.net",             // reputation of files and addresses
	"sorbs.net",                // block list
	"spamcop.net",              // block list
	"spameatingmonkey.net",     // block list
	"spamhaus.net",             // block list
	"spamhaus.org",             // block list
	"spfbl.net",                // reputation of senders
	"steamcontent.com",         // caches
	"support-intelligence.net", // block list
	"surbl.org",                // block list of names
	"surriel.com",              // block list
	"team-cymru.com",           // origins of addresses
	"team-cymru.org",           // origins of addresses
	"trendmicro.com",           // reputation of addresses
	"trustwave.com",            // reputation
	"uceprotect.net",           // block list
	"uribl.com",                // block list of names
	"webcfs00.com",             // reputation, SonicWall
	"webroot.com",              // reputation
	"zvelo.com",                // reputation
}

// isService reports whether a registered domain, or the sub-name with it, is one of
// the services or one of the domains in ignore, or below one.
func isService(name string, ignore []string) bool {
	for {
		if _, found := slices.BinarySearch(services, name); found || slices.Contains(ignore, name) {
			return true
		}
		_, rest, more := strings.Cut(name, ".")
		if !more {
			return false
		}
		name = rest
	}
}
