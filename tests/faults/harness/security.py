"""TLS and SASL for a broker of `cluster`: certificates by keytool, users for PLAIN and SCRAM."""

import subprocess

from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from . import child

USER, PASSWORD = "shop", "open sesame"


def certificate(folder, name):
    """A self-signed certificate for loopback: a PKCS#12 keystore, and the certificate as PEM."""
    folder.mkdir(parents=True, exist_ok=True)
    store, pem = folder / f"{name}.p12", folder / f"{name}.pem"
    keystore = ["-keystore", store, "-storetype", "PKCS12", "-storepass", "changeit", "-alias", name]
    made = ["keytool", "-genkeypair", *keystore, "-keyalg", "RSA", "-keysize", "2048", "-validity", "30", "-dname", "CN=localhost"]
    made += ["-ext", "SAN=dns:localhost,ip:127.0.0.1", "-ext", "bc:c"]
    subprocess.run([str(part) for part in made], check=True, capture_output=True)
    exported = ["keytool", "-exportcert", "-rfc", *keystore, "-file", pem]
    subprocess.run([str(part) for part in exported], check=True, capture_output=True)
    return store, pem


class Secured:
    """Listeners SASL_SSL, SASL_PLAINTEXT and SSL beside the plain one; `prepare` and `settings` are for a `Cluster` of one."""

    def __init__(self, folder):
        self.store, self.ca = certificate(folder, "broker")
        _, self.wrong_ca = certificate(folder, "stranger")
        self.ports = {name: child.free_port() for name in ("SASL_SSL", "SASL_PLAINTEXT", "SSL")}

    def prepare(self, cluster):
        for name, port in self.ports.items():
            cluster.brokers[0].more[name] = (name, port, port)

    def settings(self):
        plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        settings = {
            "ssl.keystore.location": self.store,
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.password": "changeit",
            "ssl.key.password": "changeit",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        }
        for listener in ("sasl_ssl", "sasl_plaintext"):
            at = f"listener.name.{listener}"
            settings[f"{at}.plain.sasl.jaas.config"] = plain
            settings[f"{at}.scram-sha-256.sasl.jaas.config"] = scram
            settings[f"{at}.scram-sha-512.sasl.jaas.config"] = scram
        return settings

    def servers(self, listener):
        return f"127.0.0.1:{self.ports[listener]}"

    def add_users(self, topics):
        """The users of SCRAM; those of PLAIN are in the broker's settings."""
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            user = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
            for future in topics.admin.alter_user_scram_credentials([user]).values():
                future.result()
