package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateRequest asks for NAME.crt and NAME.key. With hosts (DNS names or IP addresses) the certificate also serves.
type certificateRequest struct {
	Name          string   `json:"name"`
	CommonName    string   `json:"commonName"`
	Organizations []string `json:"organizations"`
	Hosts         []string `json:"hosts"`
}

const validity = 10 * 365 * 24 * time.Hour

// runPKI reads a JSON array of certificate requests from standard input and writes into the directory named by its only
// argument: ca.crt and ca.key, a pair for each request signed by that authority, and sa.key with sa.pub, which sign and
// verify the tokens of service accounts.
func runPKI() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: pki DIRECTORY < REQUESTS.json")
	}
	directory := os.Args[1]
	var requests []certificateRequest
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		return fmt.Errorf("reading the requests: %w", err)
	}
	authorityKey, err := writeKey(directory, "ca")
	if err != nil {
		return err
	}
	authority := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "housekeeper-cluster-ca"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	if err := writeCertificate(directory, "ca", authority, authority, &authorityKey.PublicKey, authorityKey); err != nil {
		return err
	}
	for _, request := range requests {
		key, err := writeKey(directory, request.Name)
		if err != nil {
			return err
		}
		if err := writeCertificate(directory, request.Name, leaf(request), authority, &key.PublicKey, authorityKey); err != nil {
			return err
		}
	}
	tokenKey, err := writeKey(directory, "sa")
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&tokenKey.PublicKey)
	if err != nil {
		return err
	}
	return writePEM(directory, "sa.pub", "PUBLIC KEY", public)
}

func leaf(request certificateRequest) *x509.Certificate {
	certificate := &x509.Certificate{
		Subject:     pkix.Name{CommonName: request.CommonName, Organization: request.Organizations},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(request.Hosts) > 0 {
		certificate.ExtKeyUsage = append(certificate.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range request.Hosts {
		if address := net.ParseIP(host); address != nil {
			certificate.IPAddresses = append(certificate.IPAddresses, address)
		} else {
			certificate.DNSNames = append(certificate.DNSNames, host)
		}
	}
	return certificate
}

func writeKey(directory, name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// SEC 1, not PKCS 8: the service-account code of Kubernetes reads an "EC PRIVATE KEY".
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(directory, name+".key", "EC PRIVATE KEY", encoded)
}

// writeCertificate fills in what all certificates share, and writes NAME.crt.
func writeCertificate(directory, name string, certificate, parent *x509.Certificate, public, signer any) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	certificate.SerialNumber = serial
	certificate.NotBefore = time.Now().Add(-time.Hour) // a clock that is set back a little must not break the cluster
	certificate.NotAfter = certificate.NotBefore.Add(validity)
	encoded, err := x509.CreateCertificate(rand.Reader, certificate, parent, public, signer)
	if err != nil {
		return fmt.Errorf("signing %s: %w", name, err)
	}
	return writePEM(directory, name+".crt", "CERTIFICATE", encoded)
}

func writePEM(directory, name, kind string, content []byte) error {
	encoded := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	return os.WriteFile(filepath.Join(directory, name), encoded, 0o600)
}
