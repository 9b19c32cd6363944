//! Chance, the same on every machine: ChaCha8 and arithmetic of our own.
//!
//! Only additions, multiplications and divisions of doubles are used, whose results IEEE 754 fixes
//! to the last bit. What a system's library makes of `exp` differs between machines.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// What chance decides; each has numbers of its own, so that one more customer changes no merchant.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Merchants.
    World = 1,
    /// A customer.
    Customer = 2,
    /// Who pays what when.
    Traffic = 3,
    /// The payments' ids.
    Ids = 4,
}

/// A source of chance.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// For one purpose; `moment` tells simulations of one seed apart, `index` things of one kind.
    pub fn new(seed: u64, purpose: Purpose, moment: i64, index: u64) -> Self {
        let mut key = *b"........ vigie simulates........";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = purpose as u8;
        key[24..].copy_from_slice(&moment.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(index);
        Self(generator)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 to below 1.
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// From 0 to below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// From the first to below the second.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + self.share() * (to - from)
    }

    /// So many, the ends included.
    pub fn count(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// Whether something happens that does with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Nearly the standard normal distribution: the sum of twelve even ones, less six.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }

    /// Half of the values are below `median`; `spread` is the deviation of the logarithm.
    pub fn lognormal(&mut self, median: f64, spread: f64) -> f64 {
        median * exp(spread * self.normal())
    }

    /// The time to the next of events that come at this rate.
    pub fn wait(&mut self, rate: f64) -> f64 {
        -ln(1.0 - self.share()) / rate
    }

    /// An index, by weights that are not all 0.
    pub fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.share() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights
            .iter()
            .rposition(|weight| *weight > 0.0)
            .unwrap_or(0)
    }
}

/// e to the power of x, for moderate x.
pub fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let doublings = (x * std::f64::consts::LOG2_E).round();
    let rest = x - doublings * std::f64::consts::LN_2;
    // Horner's scheme of the series; its 15th term is below the last bit.
    let series = (1..=15)
        .rev()
        .fold(1.0, |sum, n| 1.0 + rest / f64::from(n) * sum);
    series * f64::from_bits(((1023 + doublings as i64) as u64) << 52)
}

/// The natural logarithm of a positive, normal number.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut doublings = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut rest = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if rest > std::f64::consts::SQRT_2 {
        rest /= 2.0;
        doublings += 1;
    }
    let s = (rest - 1.0) / (rest + 1.0);
    let square = s * s;
    let series = (0..12)
        .rev()
        .fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    2.0 * s * series + doublings as f64 * std::f64::consts::LN_2
}

/// The cosine of an angle in degrees, between -90 and 90.
pub fn cos_degrees(angle: f64) -> f64 {
    let square =
        (angle * (std::f64::consts::PI / 180.0)) * (angle * (std::f64::consts::PI / 180.0));
    (1..=9).rev().fold(1.0, |sum, n| {
        1.0 - square / f64::from((2 * n - 1) * 2 * n) * sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_agrees_with_the_system_s_library() {
        for step in -2_000..2_000 {
            let x = f64::from(step) / 100.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp {x}");
            let y = x.exp();
            assert!((ln(y) - x).abs() < 1e-13 * (1.0 + x.abs()), "ln {y}");
            let angle = x * 4.5;
            assert!(
                (cos_degrees(angle) - angle.to_radians().cos()).abs() < 1e-10,
                "cos {angle}"
            );
        }
    }

    #[test]
    fn numbers_are_spread_as_they_should_be() {
        let mut dice = Dice::new(7, Purpose::World, 0, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| dice.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02);
        let picks = (0..100_000)
            .filter(|_| dice.pick(&[1.0, 0.0, 3.0]) == 2)
            .count();
        assert!((74_000..76_000).contains(&picks), "{picks}");
        let waited = (0..100_000).map(|_| dice.wait(4.0)).sum::<f64>() / 1e5;
        assert!((waited - 0.25).abs() < 0.01, "{waited}");
        assert!((0..1_000).all(|_| dice.below(3) < 3 && (2..=5).contains(&dice.count(2, 5))));
    }

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let draw = |seed, index| Dice::new(seed, Purpose::Traffic, 9, index).bits();
        assert_eq!(draw(1, 0), FIRST);
        assert_ne!(draw(1, 0), draw(2, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
    }

    const FIRST: u64 = 6_816_856_671_391_810_582;
}
