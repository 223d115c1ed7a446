/// GF(2^8) with the polynomial of AES, and curves over it through given points (SLIP-39, "Shamir's secret sharing").
///
/// No tables and no branches on values: what is computed takes the same time and touches the same memory for every
/// secret. Positions (x) are public.
enum GaloisField256 {
    static func multiply(_ left: UInt8, _ right: UInt8) -> UInt8 {
        var left = left
        var product: UInt8 = 0
        for bit in UInt8(0)..<8 {
            product ^= left & (0 &- (right >> bit & 1))
            left = left << 1 ^ (0x1B & (0 &- (left >> 7)))
        }
        return product
    }

    /// left^254; 0 for 0.
    static func inverse(_ value: UInt8) -> UInt8 {
        var power = value
        var result: UInt8 = 1
        for _ in 0..<7 {
            power = multiply(power, power)
            result = multiply(result, power)
        }
        return result
    }

    /// For the curve of lowest degree through points at `positions`: with what the value of each point is multiplied to
    /// give, summed, the value at `x`. Positions must differ.
    static func weights(at x: UInt8, positions: [UInt8]) -> [UInt8] {
        positions.map { own in
            positions.reduce(1) { weight, other in
                guard other != own else { return weight }
                return multiply(weight, multiply(x ^ other, inverse(own ^ other)))
            }
        }
    }
}
