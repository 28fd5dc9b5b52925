"""How good rules and models are, held against labels. Pure: findings and labels in, numbers out."""
