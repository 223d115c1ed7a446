/// Which addresses a webhook may be delivered to: those that anybody on the Internet can reach, and no others.
///
/// Judged is the address that is connected to, after the name was looked up: a name that leads elsewhere the second time
/// gains nothing. Ranges as in the IANA registries of special-purpose addresses (RFC 6890).
enum PublicAddress {
    /// - Parameter octets: 4 or 16, in network order.
    static func isPublic(_ octets: [UInt8]) -> Bool {
        switch octets.count {
        case 4: isPublic4(octets)
        case 16: isPublic6(octets)
        default: false
        }
    }

    private static func isPublic4(_ octets: [UInt8]) -> Bool {
        switch (octets[0], octets[1], octets[2]) {
        case (0, _, _), (10, _, _), (127, _, _), (224...255, _, _): false
        case (100, 64...127, _), (169, 254, _), (172, 16...31, _), (192, 168, _), (198, 18...19, _): false
        case (192, 0, 0), (192, 0, 2), (192, 88, 99), (198, 51, 100), (203, 0, 113): false
        default: true
        }
    }

    private static func isPublic6(_ octets: [UInt8]) -> Bool {
        // IPv4 inside: mapped (RFC 4291) and translated (RFC 6052) addresses are judged by it.
        if octets[..<10].allSatisfy({ $0 == 0 }), octets[10] == 0xFF, octets[11] == 0xFF {
            return isPublic4(Array(octets[12...]))
        }
        if octets[..<12].elementsEqual([0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]) {
            return isPublic4(Array(octets[12...]))
        }
        // Global unicast is 2000::/3; of it neither documentation, benchmarking and Teredo (2001::/23, 2001:db8::/32,
        // 3fff::/20) nor 6to4, which holds an IPv4 address.
        guard octets[0] & 0xE0 == 0x20 else { return false }
        if octets[0] == 0x20, octets[1] == 0x01, octets[2] < 2 { return false }
        if octets[0] == 0x20, octets[1] == 0x01, octets[2] == 0x0D, octets[3] == 0xB8 { return false }
        if octets[0] == 0x3F, octets[1] == 0xFF, octets[2] < 0x10 { return false }
        return !(octets[0] == 0x20 && octets[1] == 0x02)
    }
}
