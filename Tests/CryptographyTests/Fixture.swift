/// Certificates and keys that the openssl command made once; their private keys were thrown away where none is here.
///
/// Valid from 2026-11-23 to 2126-10-30. Chain: `root` -> `issuing` (pathlen 0) -> `leaf` and most others.
enum Fixture {
    /// Self-signed, P-256, CN "Example Root".
    static let root = """
        -----BEGIN CERTIFICATE-----
        MIIBuDCCAV+gAwIBAgIUM1hQtUsjYk2R1NbNmNIa3A/m/j0wCgYIKoZIzj0EAwIw
        KTEQMA4GA1UECgwHRXhhbXBsZTEVMBMGA1UEAwwMRXhhbXBsZSBSb290MCAXDTI2
        MTEyMzE0MDgxMFoYDzIxMjYxMDMwMTQwODEwWjApMRAwDgYDVQQKDAdFeGFtcGxl
        MRUwEwYDVQQDDAxFeGFtcGxlIFJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
        AARpqkq5P+Rxql0S3oDUUbxZt1Nn1DbuvDMMTZVNZtkFvHfy/eaeDqUNvQyPffCv
        sfpzByiOm42H9OlHDG/QQxVIo2MwYTAdBgNVHQ4EFgQUUL0VvC96l7Yu23kjq8nF
        dD29s/AwHwYDVR0jBBgwFoAUUL0VvC96l7Yu23kjq8nFdD29s/AwDwYDVR0TAQH/
        BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwIDRwAwRAIgScJsBGXr
        7qdTKGKuvHOP0/xpKmYRgeuhO+jQF3Ak6YoCIFoj62vCJWCZW7kkS3L9QjH29X8C
        8rKF5dhlcHFyfGFo
        -----END CERTIFICATE-----
        """
    /// Same name as `root`, another key.
    static let stranger = """
        -----BEGIN CERTIFICATE-----
        MIIBujCCAV+gAwIBAgIUFdkFJFPvojSc0CpqIj4Bflw1jwwwCgYIKoZIzj0EAwIw
        KTEQMA4GA1UECgwHRXhhbXBsZTEVMBMGA1UEAwwMRXhhbXBsZSBSb290MCAXDTI2
        MTEyMzE0MDgxMFoYDzIxMjYxMDMwMTQwODEwWjApMRAwDgYDVQQKDAdFeGFtcGxl
        MRUwEwYDVQQDDAxFeGFtcGxlIFJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
        AATW/LVJXAfwA0jDl1zpEFqhiCGyFxeMNvj2qFtQ0rf3kz4b0M80ZjkIe0WYdf9X
        ko7Yjn+T/E0wEJ3/M07ZPOrjo2MwYTAdBgNVHQ4EFgQU52J4K+ac/PqcOoL/wD4K
        emk2CqkwHwYDVR0jBBgwFoAU52J4K+ac/PqcOoL/wD4Kemk2CqkwDwYDVR0TAQH/
        BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwIDSQAwRgIhAOEZvnah
        XQ+GWFtdO7vQFSyEeCrLNYrTbBt3LrRAAds6AiEAvJTxds/KXPlDh4CAcJFcBeuA
        AIF+A32Rnli/+6bqyi8=
        -----END CERTIFICATE-----
        """
    /// An authority with pathLenConstraint 0.
    static let issuing = """
        -----BEGIN CERTIFICATE-----
        MIIBtzCCAV2gAwIBAgIJANsANWKyhiNVMAoGCCqGSM49BAMCMCkxEDAOBgNVBAoM
        B0V4YW1wbGUxFTATBgNVBAMMDEV4YW1wbGUgUm9vdDAgFw0yNjExMjMxNDA4MTBa
        GA8yMTI2MTAzMDE0MDgxMFowLzEQMA4GA1UECgwHRXhhbXBsZTEbMBkGA1UEAwwS
        RXhhbXBsZSBJc3N1aW5nIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEc0qB
        9JR0JT/bFF1GLqcyH1e4xScCYdApWU3Xi1HKn8CxDMZIvTooCyp29+RoPYWzzgPV
        x3tHY9IzljSbNxhSSaNmMGQwEgYDVR0TAQH/BAgwBgEB/wIBADAOBgNVHQ8BAf8E
        BAMCAQYwHQYDVR0OBBYEFIgSdoTrc+iasARPIc8zIqs9edQYMB8GA1UdIwQYMBaA
        FFC9Fbwvepe2Ltt5I6vJxXQ9vbPwMAoGCCqGSM49BAMCA0gAMEUCIQDExW+9M38O
        PCEGRtM/kb3gO0SRqzL/O4mbiMMPxDHfQwIgO5LqTmreMk3rkLYrUh0e6NjJuEzG
        M4NruunZ8d7tH6M=
        -----END CERTIFICATE-----
        """
    /// An authority that `issuing` should not have made.
    static let below = """
        -----BEGIN CERTIFICATE-----
        MIIBtjCCAVygAwIBAgIJANFHI3uiBSNeMAoGCCqGSM49BAMCMC8xEDAOBgNVBAoM
        B0V4YW1wbGUxGzAZBgNVBAMMEkV4YW1wbGUgSXNzdWluZyBDQTAgFw0yNjExMjMx
        NDA4MTBaGA8yMTI2MTAzMDE0MDgxMFowKzEQMA4GA1UECgwHRXhhbXBsZTEXMBUG
        A1UEAwwORXhhbXBsZSBTdWIgQ0EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQa
        DSncgidRYEmt6kn7r7UDN3d3wbeQFTuVbYzSdWOe63sdYZPRW76STnzlgYfEIxjA
        QewV3f5fTuFFbh96MybUo2MwYTAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQE
        AwIBBjAdBgNVHQ4EFgQU99v5XJqCBqWWA5epDxGsBB5Eyo8wHwYDVR0jBBgwFoAU
        iBJ2hOtz6JqwBE8hzzMiqz151BgwCgYIKoZIzj0EAwIDSAAwRQIgTYF/QYoa4hPx
        mR8qadOlXRdSKBCiq4xfiFmwVsL2yQMCIQDLdp37Bu4/COJw/0V9Qu2RhNM9la78
        ecpFBpfbmzooUw==
        -----END CERTIFICATE-----
        """
    /// CN kms.example.com, EKU serverAuth, SAN of every kind, serial number 1014877614021.
    static let leaf = """
        -----BEGIN CERTIFICATE-----
        MIICJzCCAc6gAwIBAgIGAOxLa2/FMAoGCCqGSM49BAMCMC8xEDAOBgNVBAoMB0V4
        YW1wbGUxGzAZBgNVBAMMEkV4YW1wbGUgSXNzdWluZyBDQTAgFw0yNjExMjMxNDA4
        MTBaGA8yMTI2MTAzMDE0MDgxMFowLDEQMA4GA1UECgwHRXhhbXBsZTEYMBYGA1UE
        AwwPa21zLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEo2Tu
        ftTnbi79V5ziXRJLCj91sqafoXtZvGHJ3soyUEYjSuTvkx3/15vn1l4hz44ILT6a
        8zbHjHGIZhpSu+u/s6OB1jCB0zAMBgNVHRMBAf8EAjAAMBMGA1UdJQQMMAoGCCsG
        AQUFBwMBMG4GA1UdEQRnMGWCD2ttcy5leGFtcGxlLmNvbYIRKi5hbHQuZXhhbXBs
        ZS5jb22GFWttczovL2ttcy5leGFtcGxlLmNvbYcEwAACB4EPb3BzQGV4YW1wbGUu
        Y29toBEGCisGAQQBgjcUAgOgAwwBeDAdBgNVHQ4EFgQUgSmAMGklX1mwTS6QEZXV
        NaoGDrswHwYDVR0jBBgwFoAUiBJ2hOtz6JqwBE8hzzMiqz151BgwCgYIKoZIzj0E
        AwIDRwAwRAIgWg4QKqLFj3jBK2tXGlzXgCcJPrkxoqk5mtG+814rDB4CIFfpevbP
        KnEhjU1HHYdShJe9U3S1gnvuNhVFSsoP2Z7S
        -----END CERTIFICATE-----
        """
    /// EKU clientAuth.
    static let clientOnly = """
        -----BEGIN CERTIFICATE-----
        MIIByzCCAXGgAwIBAgIJAKxba+8hHb/+MAoGCCqGSM49BAMCMC8xEDAOBgNVBAoM
        B0V4YW1wbGUxGzAZBgNVBAMMEkV4YW1wbGUgSXNzdWluZyBDQTAgFw0yNjExMjMx
        NDA4MTBaGA8yMTI2MTAzMDE0MDgxMFowHTEbMBkGA1UEAwwSY2xpZW50LmV4YW1w
        bGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiD6IOaRetQunuHnjufzv
        77g8KjLU/NdyDKvXrYtuUXhXbGoNAAKtpavlok/xI0bGdm5Swz69SWr6f6ac922k
        iaOBhTCBgjAMBgNVHRMBAf8EAjAAMBMGA1UdJQQMMAoGCCsGAQUFBwMCMB0GA1Ud
        EQQWMBSCEmNsaWVudC5leGFtcGxlLmNvbTAdBgNVHQ4EFgQUCMv3e6Zg+wUcpMWv
        ImzpO92BXJwwHwYDVR0jBBgwFoAUiBJ2hOtz6JqwBE8hzzMiqz151BgwCgYIKoZI
        zj0EAwIDSAAwRQIgWNxuBLSaQTuYeztzqj0zlhoV65WIe8iBgSumLv8RmPkCIQCq
        J2jkj/1GFd/1GpzgWy62XlpUnfoyHjUEoE84d7iERw==
        -----END CERTIFICATE-----
        """
    /// Issued by `below`.
    static let tooDeep = """
        -----BEGIN CERTIFICATE-----
        MIIBrDCCAVKgAwIBAgIJAL1j45W3x6bGMAoGCCqGSM49BAMCMCsxEDAOBgNVBAoM
        B0V4YW1wbGUxFzAVBgNVBAMMDkV4YW1wbGUgU3ViIENBMCAXDTI2MTEyMzE0MDgx
        MFoYDzIxMjYxMDMwMTQwODEwWjAbMRkwFwYDVQQDDBBkZWVwLmV4YW1wbGUuY29t
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEG3FwjqdUq3dhLiQ4LWmKFzvkxjfC
        Q4oySqVz0HyM++++L/GfQTWtKB22pgaHFOApvhWa0Sl2EBjuMNrth50lZ6NtMGsw
        DAYDVR0TAQH/BAIwADAbBgNVHREEFDASghBkZWVwLmV4YW1wbGUuY29tMB0GA1Ud
        DgQWBBRo+63hSVLn171sEdSyz9nk9fj1rDAfBgNVHSMEGDAWgBT32/lcmoIGpZYD
        l6kPEawEHkTKjzAKBggqhkjOPQQDAgNIADBFAiAt5Jp/d9lGxMmX7HX2MjuEeHmx
        c1VxD7gy1RgU3KSKxQIhAP4/KtKNcJy8v+8MYlwzSTROZ/HO3UVQ7nm3ikUQjnLq
        -----END CERTIFICATE-----
        """
    /// Signed over SHA-1.
    static let sha1 = """
        -----BEGIN CERTIFICATE-----
        MIIBrTCCAVWgAwIBAgIJAP/wPYUa6SbjMAkGByqGSM49BAEwLzEQMA4GA1UECgwH
        RXhhbXBsZTEbMBkGA1UEAwwSRXhhbXBsZSBJc3N1aW5nIENBMCAXDTI2MTEyMzE0
        MDgxMFoYDzIxMjYxMDMwMTQwODEwWjAbMRkwFwYDVQQDDBBzaGExLmV4YW1wbGUu
        Y29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHrUT09lFBazCKgOtmSJBy3Zc
        SyRpusSUQlSxiFrZ3UMdMMzNEzby50QpFbZFq1S+K5SejLsGjLRhx4Obw+OFGqNt
        MGswDAYDVR0TAQH/BAIwADAbBgNVHREEFDASghBzaGExLmV4YW1wbGUuY29tMB0G
        A1UdDgQWBBQFytBxAzUTXPtIOK1k8p78MA7XtDAfBgNVHSMEGDAWgBSIEnaE63Po
        mrAETyHPMyKrPXnUGDAJBgcqhkjOPQQBA0cAMEQCIGzjxaqUViYYbOj9qjt6XyxD
        I2qVdVHw9AsafUnEfg1MAiBSjffi9MgM+LnIqM9Idm5xrP2WXGYrFO26Y6Upp9hM
        Tg==
        -----END CERTIFICATE-----
        """
    /// Two common names and no alternative name.
    static let twoNames = """
        -----BEGIN CERTIFICATE-----
        MIIBrTCCAVKgAwIBAgIJALbr98B7KlHRMAoGCCqGSM49BAMCMC8xEDAOBgNVBAoM
        B0V4YW1wbGUxGzAZBgNVBAMMEkV4YW1wbGUgSXNzdWluZyBDQTAgFw0yNjExMjMx
        NDA4MTBaGA8yMTI2MTAzMDE0MDgxMFowNDEYMBYGA1UEAwwPb25lLmV4YW1wbGUu
        Y29tMRgwFgYDVQQDDA90d28uZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjO
        PQMBBwNCAARKA8NS0c9oqw0JR1Jvb6Eb8bDgqZ+s6SRNWLrmRooyxlfaMVDJHvuF
        6sOL45/KiX56X131PfxKuwjOEcv6sW1bo1AwTjAMBgNVHRMBAf8EAjAAMB0GA1Ud
        DgQWBBTGz5KOCnikhquH9BhhFy+1RjrMBjAfBgNVHSMEGDAWgBSIEnaE63PomrAE
        TyHPMyKrPXnUGDAKBggqhkjOPQQDAgNJADBGAiEAplKr484x2sumUrv/A5kdJAyJ
        +8JtCvBdbwuh4bIpV0ICIQD5d/oFImZTtWYpC0Q+HOIHyrLH4pBvC87Vw7AEXfod
        vg==
        -----END CERTIFICATE-----
        """
    /// Issued by `leaf`, which is no authority.
    static let notCA = """
        -----BEGIN CERTIFICATE-----
        MIIBsDCCAVWgAwIBAgIJAO8LmoTWiygXMAoGCCqGSM49BAMCMCwxEDAOBgNVBAoM
        B0V4YW1wbGUxGDAWBgNVBAMMD2ttcy5leGFtcGxlLmNvbTAgFw0yNjExMjMxNDA4
        MTBaGA8yMTI2MTAzMDE0MDgxMFowHDEaMBgGA1UEAwwRbm90Y2EuZXhhbXBsZS5j
        b20wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAREbQWgX+vGmRXTqmXzfxMbNFww
        nHHt2sdpPpBQ/0UdARftE8+gBpCNnQmafRdlYOxgHM0YINsTCzeY/3MfiBeko24w
        bDAMBgNVHRMBAf8EAjAAMBwGA1UdEQQVMBOCEW5vdGNhLmV4YW1wbGUuY29tMB0G
        A1UdDgQWBBQNu0gGglwkEnoh4HzU16m6hCX8mjAfBgNVHSMEGDAWgBSBKYAwaSVf
        WbBNLpARldU1qgYOuzAKBggqhkjOPQQDAgNJADBGAiEAiQDAmDYjYfbs37XbqFuh
        6zSPk5TbPrNGQQqG3veOy4kCIQCzeUlPf/UQ8bfFNgXC1+AXZRq1dfERgYKFto5Y
        Pftq+A==
        -----END CERTIFICATE-----
        """
    /// Self-signed, P-384.
    static let p384Root = """
        -----BEGIN CERTIFICATE-----
        MIIBzTCCAVSgAwIBAgIUdd6EmbnNwwRSNnIElvcUT2szXgowCgYIKoZIzj0EAwIw
        FTETMBEGA1UEAwwKUC0zODQgUm9vdDAgFw0yNjExMjMxNDA4MTBaGA8yMTI2MTAz
        MDE0MDgxMFowFTETMBEGA1UEAwwKUC0zODQgUm9vdDB2MBAGByqGSM49AgEGBSuB
        BAAiA2IABJLt2WPjQ98n54iqAqKb7GuktKn+k+IHgyknYnPu/Q9wSGxGMCGsHMAY
        VRuyC4ukkIKvdmDhaysV4VmXX+TxJxnAWBtaXYYAfhEEgJjXRik144KejvO4lG37
        mxIxOeZBEqNjMGEwHQYDVR0OBBYEFMgee62vXzd+3B1vYfK4TbRiO5PYMB8GA1Ud
        IwQYMBaAFMgee62vXzd+3B1vYfK4TbRiO5PYMA8GA1UdEwEB/wQFMAMBAf8wDgYD
        VR0PAQH/BAQDAgIEMAoGCCqGSM49BAMCA2cAMGQCMF+T2XAoJjNsgytLFdxueCIV
        nW9wEgQTJx5H6/4LTj5aHO8vGZsAmkyKEdUs0Etr+wIwExUpWgAkfmHamhEy8gQ+
        A3idGd8yNcz3sIjqR22jwlgEHikq6yuBt/vJgdwXm7KE
        -----END CERTIFICATE-----
        """
    /// A P-256 leaf of `p384Root`.
    static let under384 = """
        -----BEGIN CERTIFICATE-----
        MIIBvzCCAUSgAwIBAgIJAMUE7kzyajQwMAoGCCqGSM49BAMCMBUxEzARBgNVBAMM
        ClAtMzg0IFJvb3QwIBcNMjYxMTIzMTQwODEwWhgPMjEyNjEwMzAxNDA4MTBaMB8x
        HTAbBgNVBAMMFHVuZGVyMzg0LmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZI
        zj0DAQcDQgAEIy0kXgpS9hJdjJaMv1DscyfYlXwvAnf/Yp07fQK4K/UQi4Zjb6Jl
        xXyPpfwFntiT9vTOJyPGrxHWPt5JdLWz5aNxMG8wDAYDVR0TAQH/BAIwADAfBgNV
        HREEGDAWghR1bmRlcjM4NC5leGFtcGxlLmNvbTAdBgNVHQ4EFgQUDLpbah2gYCzX
        UFOeddD+rTarcMIwHwYDVR0jBBgwFoAUyB57ra9fN37cHW9h8rhNtGI7k9gwCgYI
        KoZIzj0EAwIDaQAwZgIxAK+S+y2bbLDnZqnPTKs4DMhCZ+ZDe8WGtQS7W5pH7M3c
        SB3/9AcSRQ7aWNZ8YlV+/gIxAPZuwHwE6242wfqdqp05pdxMRsoR6Ukl3y4Wgffp
        D1S7RzLn04YTRnbf3ti/hUDU1A==
        -----END CERTIFICATE-----
        """
    /// RSA 2048, issued by `root`.
    static let rsaLeaf = """
        -----BEGIN CERTIFICATE-----
        MIICcjCCAhigAwIBAgIIDeFNqtv+my4wCgYIKoZIzj0EAwIwKTEQMA4GA1UECgwH
        RXhhbXBsZTEVMBMGA1UEAwwMRXhhbXBsZSBSb290MCAXDTI2MTEyMzE0MDgxMVoY
        DzIxMjYxMDMwMTQwODExWjAaMRgwFgYDVQQDDA9yc2EuZXhhbXBsZS5jb20wggEi
        MA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQD690c9iZit1/QMD220ia54VH66
        qPCfU5WjG/K/PiF2ZuA6gBTn/mMRJF3KI1SPf6z0VWV0luU8raIWI3NulW2oSPN3
        PtdkYCukYlkJUgXdCyEL+HnL0Ddr1mSom2Q37U2jQtuU3Zn0MoX7dmYHP2uibmcJ
        1rtHC09YXTu4jjI61EBTUfU1sqvA9E/GMRmukRx4YBqbzSW+9FTjZ/+KExX6NoV7
        28WwyRF01yR8wtoV8D6diMAH/wf9en4LAFwqUe7xxSbkarb0R2TGSsEueq90xyK3
        k8g4sU8EQfmaqkDGgObCps7A5826GJZ3Ccwvy0WbnSYn7hEq098yVbmapRURAgMB
        AAGjbDBqMAwGA1UdEwEB/wQCMAAwGgYDVR0RBBMwEYIPcnNhLmV4YW1wbGUuY29t
        MB0GA1UdDgQWBBS14KGw3n28bq8dgsRtILYcp39LIDAfBgNVHSMEGDAWgBRQvRW8
        L3qXti7beSOrycV0Pb2z8DAKBggqhkjOPQQDAgNIADBFAiEAhI2hyr8d2znnlD5S
        e/Vgn7GcXDWJ7FB89qwFeJLkldYCIBMFFomF85m/2gTh84/ZVzvI7pGjpeTvsbo5
        EuMCFVMf
        -----END CERTIFICATE-----
        """
    /// RSA 1024, issued by `root`.
    static let weak = """
        -----BEGIN CERTIFICATE-----
        MIIB8TCCAZegAwIBAgIJALuy5Ojc4/FBMAoGCCqGSM49BAMCMCkxEDAOBgNVBAoM
        B0V4YW1wbGUxFTATBgNVBAMMDEV4YW1wbGUgUm9vdDAgFw0yNjExMjMxNDA4MTFa
        GA8yMTI2MTAzMDE0MDgxMVowGzEZMBcGA1UEAwwQd2Vhay5leGFtcGxlLmNvbTCB
        nzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAy0l0d5A3DO0STGEwG6mA5K2JY4J5
        8sRJd8hu3lZE3+B6/vNN4kxPdXRWN5DaNtEBIjnRZxxxHfyssVwdAl6tNGuvG3Cw
        mHrpeZAL2H6rsw5p7ryyCp+JHb9MVsqGfcH8G9BnAisfz11jaRFAtm7b8MmB/CVr
        rGvLTdYgAhSsTYMCAwEAAaNtMGswDAYDVR0TAQH/BAIwADAbBgNVHREEFDASghB3
        ZWFrLmV4YW1wbGUuY29tMB0GA1UdDgQWBBRngpdCfW5fFQoxVsz15xfPTWgzwjAf
        BgNVHSMEGDAWgBRQvRW8L3qXti7beSOrycV0Pb2z8DAKBggqhkjOPQQDAgNIADBF
        AiEAochyVFyOu8g3jaK9ayaYDZLJCrhy73GrebUJEqNaI64CIAtt/GVQNauVzxjt
        VdIco7+4EkDnx9jsxuhoGkbGR/b7
        -----END CERTIFICATE-----
        """
    /// The key of `rsaLeaf` as PKCS#1.
    static let pkcs1Key = """
        -----BEGIN RSA PRIVATE KEY-----
        MIIEpAIBAAKCAQEA+vdHPYmYrdf0DA9ttImueFR+uqjwn1OVoxvyvz4hdmbgOoAU
        5/5jESRdyiNUj3+s9FVldJblPK2iFiNzbpVtqEjzdz7XZGArpGJZCVIF3QshC/h5
        y9A3a9ZkqJtkN+1No0LblN2Z9DKF+3ZmBz9rom5nCda7RwtPWF07uI4yOtRAU1H1
        NbKrwPRPxjEZrpEceGAam80lvvRU42f/ihMV+jaFe9vFsMkRdNckfMLaFfA+nYjA
        B/8H/Xp+CwBcKlHu8cUm5Gq29EdkxkrBLnqvdMcit5PIOLFPBEH5mqpAxoDmwqbO
        wOfNuhiWdwnML8tFm50mJ+4RKtPfMlW5mqUVEQIDAQABAoIBAAPnB0t7Qa2cW3i6
        NFttE6fehSehEQ133C5l33EJWzWvNQKRM3dbDY56mV8XYbfR2q45oLhUJgWQRqJf
        qT/ENj5lFKzF7vf/hdY1IEt55B+d42+UoiI2SeeqSl+T0QEMoTCDeDd4+Ff41tFZ
        no2zdwNBgmZ/rrhUrPEZEWDAjKKSWqPsBN0a8CtXRkIUlQRnqp0cnrodTlySjtAe
        OghX9u4I1Vd9OXhOGia8sHZMtzZO2/ON0b99STKLeb4w8EtRVwDg+9Vx9ISwX+JU
        EdEMzwNPoYPdBmwKsqhTTneua2lKoUdKzeATzztiFt9Ayu7Ci15vJSHHWSEq1gXv
        S2IraQECgYEA//UkZ8ruCCjIUmHKYhokN5VsF2FMMjXWzGadwLLAd1k9eDzV/iXJ
        JAVYWfe7YQnYYtahkJzZBOxcWpOK6WUMqvHdgldmgg/TvTffwYurOd3G+xSfaB9T
        arSLS7Xsba8uCvb05ylvWi6wqjE3YO46rE10oqm48IrD8JpZrXm1/MECgYEA+wHs
        oKp6S/qd7cUn3sARc0raGFrL285if0DYsZ/pW77SOseu2fpu81u7XY/OrSVHldZ+
        Wz1AwqdxLHJ+ZAgUIw7AC5roH2DIq2DLN0o6j9+lk20k/u2lz/U0ZazAOslFnF1f
        rSHcD4QfveGMnuhZvaGDaaiqluBr6MowF7wrHFECgYEA7mP0v1Lq9eB+CvSXmV09
        pCNgJDpzzEQGxiNBBEu4JLCSJt2KdYXd29W6nzizZcLUreG3Ysgi/InjzlyiwZRj
        Awf3xkD+8V4qWI6ksVATbvbXL9zaRxD+EWEMZ7yN8u541K+EE5Ss6HKaCjmCmZ3o
        Obh+TE4FOMwViI9JvN+iF0ECgYAOJuKfgF0a0Yt772S7E1sog+zd+KiLwQwenppZ
        EWoHyS9zLvT1xz/gKqjaspP1gSeTFB/VpxNyphwkZGQp4aa4/0jmnpo9wqgtuWxb
        tqyslfBw6nNuiBmUKwAER4QjDFwHX+BYE5OjsFBV1VSnVPRSU7vkBiVwEkEjQ9sI
        S4ymsQKBgQCpoDvDBWk7udY3Dgp28db9Pf4Y3/XWc0KToOFBQEX1t5R+eIzLcmwJ
        zOBbhIkawriBL/7SgxB8S4za9oO7arlXV3iBFKP6ogR4Zn9O+cfyAI9bbRTCd7CI
        qDTHt3Gr18f9l0Pht6o5/ftO/E47ZOXWuavEd7DeXmviaCND07E+WA==
        -----END RSA PRIVATE KEY-----
        """
    /// A P-256 key as SEC 1.
    static let sec1Key = """
        -----BEGIN EC PRIVATE KEY-----
        MHcCAQEEIBC7XYxYQ0JNk+itUbyBu+W9wTU+eex46rFqEvzLjgbDoAoGCCqGSM49
        AwEHoUQDQgAEQFVzL6NcKV4DgQMwKavyhtYSUNmORE1yII60al/OpFKKbOc5AIs3
        Qx6G5/mWz8vRHMp/axnu9cbnIcyAxMIbvQ==
        -----END EC PRIVATE KEY-----
        """
    /// The same with a block EC PARAMETERS before it.
    static let sec1KeyWithParameters = """
        -----BEGIN EC PARAMETERS-----
        BggqhkjOPQMBBw==
        -----END EC PARAMETERS-----
        -----BEGIN EC PRIVATE KEY-----
        MHcCAQEEIBC7XYxYQ0JNk+itUbyBu+W9wTU+eex46rFqEvzLjgbDoAoGCCqGSM49
        AwEHoUQDQgAEQFVzL6NcKV4DgQMwKavyhtYSUNmORE1yII60al/OpFKKbOc5AIs3
        Qx6G5/mWz8vRHMp/axnu9cbnIcyAxMIbvQ==
        -----END EC PRIVATE KEY-----
        """
    /// The same as PKCS#8.
    static let pkcs8Key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgELtdjFhDQk2T6K1R
        vIG75b3BNT557HjqsWoS/MuOBsOhRANCAARAVXMvo1wpXgOBAzApq/KG1hJQ2Y5E
        TXIgjrRqX86kUops5zkAizdDHobn+ZbPy9Ecyn9rGe71xuchzIDEwhu9
        -----END PRIVATE KEY-----
        """
    /// The same, encrypted.
    static let encryptedKey = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiT/D29Ji7bFAICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBWPMhSQJZcwptyR6Y50A8cEgZDn
        +in/GcT3tKQJ97EAxEQinUrWjNZmwkaKRmIlpK+IUa62V6R64XFWhrM2+zh/EeuS
        i8v+o79HKg4hQudWt9QltRGb+mTwvw7BWHAc4yG8EwWFTL4hNX5JcXk6qUlQMnj1
        o4FoxfKRCuQ6l6guYN1ge30c2jM7IjxlyMGiCXf009fyPv43Ei6SEDrB9W9qnVs=
        -----END ENCRYPTED PRIVATE KEY-----
        """
    /// The same, encrypted the old way.
    static let encryptedSEC1Key = """
        -----BEGIN EC PRIVATE KEY-----
        Proc-Type: 4,ENCRYPTED
        DEK-Info: AES-256-CBC,8D0158212262CC1FE2894CF4F85E2C08

        syk+00gNI9z+XkEdR6oddiscK5FrMNxhITESOIxT6i2pNwF5iM/PWzXMUOushb2A
        o1igolfWu1rOhq0DhaeAXw2Q5PoetZvE+2QGpDfhKAqGqQ6umkWV6sT+VThGLxkL
        QJHMAkiGpv9QZCmepnSbn0plijZ+Y39FquvceXmyN1U=
        -----END EC PRIVATE KEY-----
        """
    /// P-384.
    static let p384Key = """
        -----BEGIN EC PRIVATE KEY-----
        MIGkAgEBBDDqOR1GXc2GvgUjIm8TtXHhzzOajvhArHqPcaVTFTN0eHpj2afuMNTc
        urRJWsgjkB+gBwYFK4EEACKhZANiAASS7dlj40PfJ+eIqgKim+xrpLSp/pPiB4Mp
        J2Jz7v0PcEhsRjAhrBzAGFUbsguLpJCCr3Zg4WsrFeFZl1/k8ScZwFgbWl2GAH4R
        BICY10YpNeOCno7zuJRt+5sSMTnmQRI=
        -----END EC PRIVATE KEY-----
        """
    /// RSA 1024.
    static let weakKey = """
        -----BEGIN PRIVATE KEY-----
        MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAMtJdHeQNwztEkxh
        MBupgOStiWOCefLESXfIbt5WRN/gev7zTeJMT3V0VjeQ2jbRASI50WcccR38rLFc
        HQJerTRrrxtwsJh66XmQC9h+q7MOae68sgqfiR2/TFbKhn3B/BvQZwIrH89dY2kR
        QLZu2/DJgfwla6xry03WIAIUrE2DAgMBAAECgYBKl/mUpeaNZ7B/NmpgvCH/x23S
        hd4Zps0Olw2XqDA9tjFru/uoPjgp8TZxzUVFOAwicvTT0SvwxPbZXeOHKxaCrktv
        nh+zNz9CPbzXUUtbTxOIQZSto2iKwInrQJJFcK7oXlNpBcBZDNkfc+cGSkwJ5qIo
        dGZzh0oZYrx9PkW0gQJBAOktvD3WlZTOjjQyg+3s1VjK/tfEToSoyWg6iD/WmBpR
        OxkzcSChPR/1srPqaKnHB9Xq8UgNWJ5wk8BRQu/WqfcCQQDfLsk1wSEklqU3aLDm
        5u3HhHVgG2P12Yk2/6BxKiCOabeGtBWgn0leyhGFS3b5hG3HAa0dl9AqCXllHfLO
        9XXVAkEA5nXad+/PFSz1ZWeL9yq9Ti4LpCuUQw8jSM2Y/idVW6VvWJ/8LnjOFflb
        bvC+Exbwip/TaxgtvyKbFVf7ZVpvzwJAKixNGTtFaASPc8j0pK0+gVUmWOLUIMDa
        jOoBB2FOhZq0c1/UNmXjF2ZXqTh5Yu0DUXefntfxHgBsUA84sqLvgQJAOTuTYgN6
        pucvlqM1VlLcVpG5lelBLU1/fkiAnnaBI0si/AWoXEibjmuPFUa8mBE3A9dFBHuq
        mfYzwmCSeLOvFQ==
        -----END PRIVATE KEY-----
        """
    /// The public half of `sec1Key` with a compressed point, in hexadecimal.
    static let compressedSPKI = """
        3039301306072a8648ce3d020106082a8648ce3d030107032200034055732fa35c295e0381033029abf286d61250d98e444d\
        72208eb46a5fcea452
        """
    /// The same with the curve written out.
    static let explicitSPKI = """
        3082014b3082010306072a8648ce3d02013081f7020101302c06072a8648ce3d0101022100ffffffff000000010000000000\
        00000000000000ffffffffffffffffffffffff305b0420ffffffff00000001000000000000000000000000ffffffffffffff\
        fffffffffc04205ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b031500c49d360886e70493\
        6a6678e1139d26b7819f7e900441046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342\
        e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5022100ffffffff00000000ffffffffffffffffbce6\
        faada7179e84f3b9cac2fc632551020101034200044055732fa35c295e0381033029abf286d61250d98e444d72208eb46a5f\
        cea4528a6ce739008b37431e86e7f996cfcbd11cca7f6b19eef5c6e721cc80c4c21bbd
        """
    /// A P-384 public key.
    static let p384SPKI = """
        3076301006072a8648ce3d020106052b810400220362000492edd963e343df27e788aa02a29bec6ba4b4a9fe93e207832927\
        6273eefd0f70486c463021ac1cc018551bb20b8ba49082af7660e16b2b15e159975fe4f12719c0581b5a5d86007e11048098\
        d7462935e3829e8ef3b8946dfb9b123139e64112
        """
}
